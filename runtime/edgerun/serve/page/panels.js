// What each panel shows of a snapshot (edgerun.status/1). Everything from the server is put in as text.
import { band, dot, frame, line, mark, nice, node, nothing, SHAPES, show, spark, stack } from "./charts.js";
import { ago, count, ms, NONE, number, percent } from "./format.js";

export const OUTCOMES = ["ok", "attack", "fault", "error", "rejected"];
const WORDS = { ok: "answered", attack: "attack", fault: "fault", error: "error", rejected: "rejected" };
const EXIT_COLORS = 6;
export const $ = (id) => document.getElementById(id);

export function text(tag, value, className) {
  const made = document.createElement(tag);
  made.textContent = value;
  if (className) made.className = className;
  return made;
}

export const color = (name) => `var(--${name})`;

// "• name value" of a chart's key.
function key(drawn, name, value) {
  const made = document.createElement("span");
  made.className = "key";
  made.append(drawn, text("span", name, "name"), text("b", value));
  return made;
}

// The series without the running slot, which is not full yet.
const full = (values) => values.slice(0, -1);
const secondsOf = (s) => (s.window.slots - 1) * s.window.step_s;

function at(s, k) {
  return k == null ? null : `${ago((s.window.slots - 2 - k) * s.window.step_s + s.window.running_s)}`;
}

function tile(id, big, unit, sub, marked, kind) {
  const box = $(id), shown = box.querySelector(".big");
  shown.replaceChildren(big, ...(unit ? [text("small", ` ${unit}`)] : []));
  box.querySelector(".sub").textContent = sub;
  box.querySelector(".sub").title = sub;
  if (marked) { box.dataset.mark = marked; box.dataset.kind = kind; } else { delete box.dataset.mark; delete box.dataset.kind; }
  return box.querySelector(".spark");
}

export function tiles(s) {
  const o = s.outcomes, sums = s.series.ok.map((_, k) => OUTCOMES.reduce((t, name) => t + s.series[name][k], 0));
  spark(tile("tile-rate", number(s.rate_per_s), "/ s", `${count(s.requests)} in all`), full(sums), color("ok"));
  const l = s.latency_ms;
  spark(tile("tile-latency", l.p50 == null ? NONE : number(l.p50), l.p50 == null ? "" : "ms median", l.p99 == null ? "nothing ran" : `99 % within ${ms(l.p99)}`),
    full(s.series.latency_ms.p99), color("p90"));
  const last = new Set(Object.values(s.server.models).map((m) => m.exits[m.exits.length - 1]).filter(Boolean));
  const known = s.exits.filter((e) => Object.values(s.server.models).some((m) => m.exits.includes(e.exit)));
  const answered = known.reduce((t, e) => t + e.count, 0), early = known.filter((e) => !last.has(e.exit));
  const share = answered ? early.reduce((t, e) => t + e.count, 0) / answered : null;
  const has = Object.values(s.server.models).some((m) => m.exits.length > 1);
  spark(tile("tile-exits", share == null ? NONE : percent(share).replace(" %", ""), share == null ? "" : "%",
    has ? `of ${count(answered)} answers` : "no model with exits"),
  full(sums.map((_, k) => early.reduce((t, e) => t + s.series.exits[e.exit][k], 0))), color("exit2"));
  const judged = Object.values(s.attack), scored = judged.reduce((t, a) => t + a.scored, 0), above = judged.reduce((t, a) => t + a.above, 0);
  const watched = Object.values(s.server.models).some((m) => m.detector);
  spark(tile("tile-attacks", watched || scored ? count(above) : NONE, "", scored ? `${percent(above / scored)} of ${count(scored)}`
    : watched ? "none scored" : "no detector", above ? `${SHAPES.attack} seen` : "", "attack"),
  full(sums.map((_, k) => judged.reduce((t, a) => t + a.above_by_slot[k], 0))), color("attack"));
  spark(tile("tile-faults", count(s.findings), "", o.fault ? `${count(o.fault)} answers withheld` : s.findings ? "all cured" : "found by the checks",
    s.findings ? `${SHAPES.fault} found` : "", "fault"), full(s.series.findings), color("fault"));
  const top = s.reasons.find((r) => r.reason !== "attack" && r.reason !== "fault");
  spark(tile("tile-rejected", count(o.rejected), "", o.rejected && top ? `most: ${top.reason}` : o.error ? `${count(o.error)} server errors` : "of all messages",
    o.error ? `${SHAPES.error} error` : o.rejected ? `${SHAPES.rejected} some` : "", "rejected"), full(s.series.rejected), color("rejected"));
}

export function latency(s, box, out) {
  const lines = [["p50", "median"], ["p90", "90 %"], ["p99", "99 %"]].map(([p, name]) => ({ p, name, values: full(s.series.latency_ms[p]) }));
  const all = lines.flatMap((l) => l.values).filter((v) => v != null), dash = { p50: null, p90: "6 4", p99: "1.5 4" };
  if (!all.length) { out.replaceChildren(); return nothing(box, "No request ran in this time."); }
  const low = Math.min(...all) / 1.25, high = Math.max(...all) * 1.25, slots = s.window.slots - 1;
  const chart = frame(box, { slots, seconds: secondsOf(s), low, high: Math.max(high, low * 4), log: true, label: number });
  band(chart, lines[0].values, lines[2].values, color("p99"));
  for (const l of lines) line(chart, l.values, color(l.p), dash[l.p]);
  show(box, chart);
  const k = box.picked, values = lines.map((l) => (k == null ? s.latency_ms[l.p] : l.values[k]));
  out.replaceChildren(...lines.map((l, i) => key(mark(color(l.p), dash[l.p]), l.name, ms(values[i]))),
    text("span", k == null ? `longest ${ms(s.latency_ms.max)}` : at(s, k)));
  box.ariaLabel = `Latency: median ${ms(values[0])}, 90 percent within ${ms(values[1])}, 99 percent within ${ms(values[2])}. ${at(s, k) ?? "Whole window"}`;
}

export function traffic(s, box, out) {
  const step = s.window.step_s, k = box.picked, slots = s.window.slots - 1;
  const series = OUTCOMES.map((name) => ({ name, color: color(name), values: full(s.series[name]).map((v) => v / step) }));
  const high = Math.max(...full(s.series.ok).map((_, i) => series.reduce((t, one) => t + one.values[i], 0)));
  const used = series.filter((one) => one.name === "ok" || s.outcomes[one.name]);
  const value = (one) => (k == null ? `${count(s.outcomes[one.name])}` : `${number(one.values[k])}/s`);
  if (!high) { nothing(box, "No requests in this time."); } else {
    const chart = frame(box, { slots, seconds: secondsOf(s), high: nice(high), label: number });
    stack(chart, used);
    show(box, chart);
  }
  out.replaceChildren(...used.map((one) => key(text("span", SHAPES[one.name], `mark is-${one.name}`), WORDS[one.name], value(one))),
    ...(k == null ? [] : [text("span", at(s, k))]));
  box.ariaLabel = `Requests: ${used.map((one) => `${WORDS[one.name]} ${value(one)}`).join(", ")}. ${at(s, k) ?? "Whole window"}`;
}

export function scores(s, box, out) {
  const models = Object.keys(s.attack).filter((m) => s.attack[m].scored), choice = $("scores-choice").querySelector("select");
  if (models.join() !== [...choice.options].map((o) => o.value).join()) {
    const before = choice.value;
    choice.replaceChildren(...models.map((m) => new Option(m, m)));
    if (models.includes(before)) choice.value = before;
  }
  $("scores-choice").hidden = models.length < 2;
  const chosen = choice.value;
  $("scores-model").textContent = models.length === 1 ? `, ${chosen}` : "";
  if (!chosen) {
    out.replaceChildren();
    const watched = Object.values(s.server.models).some((m) => m.detector);
    return nothing(box, watched ? "No features were judged in this time." : "No detector is served. `edgerun detect train` makes one.");
  }
  const a = s.attack[chosen], slots = s.window.slots - 1, k = box.picked;
  const known = [...full(a.highest), ...full(a.thresholds), a.threshold].filter((v) => v != null);
  const sampled = a.sample.flat();
  const low = Math.min(0, ...sampled), high = Math.max(...known, 1e-9);
  const knee = Math.abs(a.threshold) || 1;
  const chart = frame(box, { slots, seconds: secondsOf(s), low, high: Math.max(high * 1.15, a.threshold + knee), knee, label: number });
  const y = chart.y(a.threshold);
  chart.svg.append(node("rect", { x: chart.left, y: chart.top, width: chart.right - chart.left, height: Math.max(y - chart.top, 0), fill: color("attack"), opacity: 0.07 }));
  for (let slot = 0; slot < slots; slot++) {
    const limit = a.thresholds[slot], shown = new Set([...a.sample[slot], a.highest[slot]].filter((v) => v != null));
    for (const v of shown) chart.svg.append(dot(chart, slot, v, v > limit ? color("attack") : color("p50"), v > limit));
  }
  chart.svg.append(node("line", { x1: chart.left, x2: chart.right, y1: y, y2: y, stroke: color("attack"), "stroke-width": 1.5, "stroke-dasharray": "7 4" }),
    node("text", { class: "strong", x: chart.right, y: y - 6, "text-anchor": "end" }, `threshold ${number(a.threshold)}`));
  show(box, chart);
  const above = k == null ? a.above : a.above_by_slot[k], highest = k == null ? high : a.highest[k];
  out.replaceChildren(key(text("span", "◆", "mark is-attack"), "above the threshold", count(above)),
    key(text("span", "●", "mark dot"), "below", count(k == null ? a.scored - a.above : a.sample[k].length - a.sample[k].filter((v) => v > a.threshold).length)),
    text("span", k == null ? "dots: the highest and a fair sample" : `highest ${number(highest)}, ${at(s, k)}`));
  box.ariaLabel = `Attack scores of ${chosen}: ${above} above the threshold of ${number(a.threshold)}, highest ${number(highest)}. ${at(s, k) ?? "Whole window"}`;
}

export function exits(s, box, out) {
  const order = Object.values(s.server.models).flatMap((m) => m.exits);
  const taken = [...s.exits].sort((a, b) => order.indexOf(a.exit) - order.indexOf(b.exit)), k = box.picked, slots = s.window.slots - 1;
  if (!taken.length) { out.replaceChildren(); return nothing(box, "No answers in this time."); }
  const counted = taken.map((e) => full(s.series.exits[e.exit])), sums = counted[0].map((_, i) => counted.reduce((t, c) => t + c[i], 0));
  const chart = frame(box, { slots, seconds: secondsOf(s), high: 100, label: (v) => `${v} %` });
  const paint = (i) => color(`exit${taken.length < 4 ? i * 2 : i % EXIT_COLORS}`);
  stack(chart, counted.map((values, i) => ({ color: paint(i), values: values.map((v, j) => (sums[j] ? (100 * v) / sums[j] : 0)) })));
  show(box, chart);
  const share = (i) => (k == null ? taken[i].share : sums[k] ? counted[i][k] / sums[k] : null);
  out.replaceChildren(...taken.map((e, i) => key(mark(paint(i), null, true), e.exit, percent(share(i)))), ...(k == null ? [] : [text("span", at(s, k))]));
  box.ariaLabel = `Exits: ${taken.map((e, i) => `${e.exit} ${percent(share(i))}`).join(", ")}. ${at(s, k) ?? "Whole window"}`;
}
