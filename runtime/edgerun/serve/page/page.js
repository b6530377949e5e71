// Asks the server for its figures every two seconds and draws them. Nothing is kept but the last answer.
import { choosing, SHAPES } from "./charts.js";
import { ago, count, ms, NONE, number, span } from "./format.js";
import { $, exits, latency, scores, text, tiles, traffic } from "./panels.js";
import { reports } from "./reports.js";

const EVERY_MS = 2000, PATIENCE_MS = 5000, SLOWEST_MS = 15000;
const KIND = { attack: "attack", fault: "fault", internal: "error" };
const DRAWN = { latency, traffic, scores, exits };
const COLUMNS = [["device", "Device"], ["requests", "Requests"], ["ok", "Answered"], ["p50_ms", "Median"], ["p99_ms", "99 %"],
  ["rejected", "Rejected"], ["attack", "Attacks"], ["findings", "Faults"], ["last_score", "Last score"], ["last_exit", "Last exit"], ["age_s", "Last seen"]];
const state = { last: null, heard: 0, failures: 0, timer: 0, turn: 0, sort: null, down: true };

// -- colours ----------------------------------------------------------------------------------------------------------
const dark = matchMedia("(prefers-color-scheme: dark)"), THEMES = { system: "◐", dark: "●", light: "○" };
function stored() { try { return localStorage.getItem("theme"); } catch { return null; } }
let theme = stored() in THEMES ? stored() : "system";

function paint() {
  document.documentElement.dataset.theme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  $("theme").textContent = THEMES[theme];
  $("theme").ariaLabel = `Colours: ${theme === "system" ? "as the system" : theme}`;
  $("theme").title = $("theme").ariaLabel;
}
dark.addEventListener("change", paint);
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  try { localStorage.setItem("theme", theme); } catch { /* a private window: until it is closed */ }
  paint();
});
paint();

// -- lists ------------------------------------------------------------------------------------------------------------
function item(kind, name, meaning, right, tail) {
  const made = document.createElement("li");
  made.append(text("span", SHAPES[kind], `mark is-${kind}`), text("span", name, "name"), right, text("span", meaning, "meaning"), ...tail);
  return made;
}

function reasons(s) {
  const most = Math.max(...s.reasons.map((r) => r.count), 1);
  const rows = s.reasons.slice(0, 8).map((r) => {
    const kind = KIND[r.reason] ?? "rejected", made = document.createElement("li"), name = text("span", "", "name");
    name.append(text("span", `${SHAPES[kind]} `, `mark is-${kind}`), r.reason);
    const bar = text("div", "", `bar is-${kind}`), inner = document.createElement("i");
    inner.style.width = `${(100 * r.count) / most}%`;
    bar.append(inner);
    made.append(name, text("b", count(r.count)), bar, text("span", r.meaning, "meaning"));
    return made;
  });
  const none = text("li", s.requests ? "Every message was answered." : "No messages in this time.", "empty");
  $("reasons").querySelector("ul").replaceChildren(...(rows.length ? rows : [none]));
}

function recent(s) {
  const rows = s.recent.map((r) => {
    const kind = r.outcome in SHAPES ? r.outcome : "error";
    return item(kind, `${r.reason} · ${r.device}`, [r.meaning, r.model, r.transport].filter(Boolean).join(" · "), text("time", ago(r.age_s)), []);
  });
  $("recent").querySelector("ol").replaceChildren(...(rows.length ? rows : [text("li", "None since the server started.", "empty")]));
}

function cell(row, field) {
  const value = row[field];
  if (field === "p50_ms" || field === "p99_ms") return ms(value);
  if (field === "age_s") return ago(value);
  if (field === "last_score") return value == null ? NONE : `${value > row.threshold ? "◆ " : ""}${number(value)} of ${number(row.threshold)}`;
  return typeof value === "number" ? count(value) : value || NONE;
}

function devices(s) {
  const box = $("devices"), { field, down } = { field: state.sort, down: state.down };
  const rows = [...s.devices];
  if (field) {
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
    rows.sort((a, b) => order(a[field], b[field]) * (down ? -1 : 1));
  }
  box.querySelector("tbody").replaceChildren(...rows.map((row) => {
    const made = document.createElement("tr");
    made.setAttribute("role", "row");
    for (const [name, label] of COLUMNS) {
      const td = text("td", cell(row, name));
      td.setAttribute("role", "cell");
      td.dataset.label = label;
      if (row[name] === 0 || row[name] == null || row[name] === "") td.className = "zero";
      else if (name === "rejected" || name === "attack") td.className = `is-${name}`;
      else if (name === "findings") td.className = "is-fault";
      else if (name === "last_score" && row.last_score > row.threshold) td.className = "is-attack";
      made.append(td);
    }
    return made;
  }));
  box.querySelector("table").hidden = !rows.length;
  box.querySelector(".empty").hidden = rows.length > 0;
  box.querySelector(".empty").textContent = "No device sent anything in this time.";
  const rest = s.devices_seen - rows.filter((r) => !r.device.startsWith("(")).length;
  $("devices-count").textContent = rows.length ? `${count(s.devices_seen)} seen${rest > 0 ? `, ${count(rest)} not listed` : ""}; troubled ones first` : "";
}

$("devices").querySelector("thead tr").append(...COLUMNS.map(([field, label]) => {
  const th = document.createElement("th"), button = text("button", label);
  th.setAttribute("role", "columnheader");
  th.scope = "col";
  th.dataset.label = label;
  button.type = "button";
  button.addEventListener("click", () => {
    state.down = state.sort === field ? !state.down : field !== "device";
    state.sort = field;
    for (const other of th.parentNode.children) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    if (state.last) devices(state.last);
  });
  th.append(button);
  return th;
}));

// -- the whole --------------------------------------------------------------------------------------------------------
function chart(name) {
  const box = $(name).querySelector(".chart");
  DRAWN[name](state.last, box, $(name).querySelector("output"));
}

function draw() {
  const s = state.last;
  if (!s) return;
  tiles(s);
  for (const name of Object.keys(DRAWN)) chart(name);
  reasons(s);
  recent(s);
  devices(s);
  reports(s);
  const server = s.server, models = Object.entries(server.models);
  $("facts").textContent = [models.map(([name, m]) => name + (m.ready ? "" : " (not ready)")).join(", ") || "no models", `up ${span(server.uptime_s)}`,
    `${server.workers} ${server.workers === 1 ? "worker" : "workers"}`, `${server.inflight} in flight`, `${server.pending} waiting`].join(" · ");
  const scrubbed = models.filter(([, m]) => m.scrub_age_s != null).map(([name, m]) => `${name} ${ago(m.scrub_age_s)}`);
  $("foot").textContent = [`Server time ${new Date(s.time * 1000).toLocaleTimeString()}`, scrubbed.length ? `weights verified: ${scrubbed.join(", ")}` : ""]
    .filter(Boolean).join(" · ");
}

function tell(kind, words, alarm) {
  document.body.dataset.state = kind;
  if ($("state-text").textContent !== words) $("state-text").textContent = words;
  $("alarm").hidden = !alarm;
  if (alarm && $("alarm").textContent !== alarm) $("alarm").textContent = alarm;
}

async function fetched() {
  const shown = document.querySelector("input[name=window]:checked").value;
  const answer = await fetch(`edgerun/v1/status?window=${shown}`, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw new Error("The server does not show its figures to you");
  if (!answer.ok) throw new Error(`The server answered ${answer.status}`);
  const s = await answer.json();
  if (s.schema !== "edgerun.status/1") throw new Error("The server speaks another version; reload the page");
  return s;
}

function lost(error) {
  state.failures += 1;
  const said = error instanceof TypeError || error.name === "TimeoutError" ? "The server cannot be reached" : error.message;
  const old = state.heard ? ` What is shown is from ${new Date(state.heard).toLocaleTimeString()}.` : "";
  tell("lost", "Not reachable", `${said}; trying again.${old}`);
}

async function ask() {
  clearTimeout(state.timer);
  const turn = ++state.turn;
  const s = await fetched().catch((error) => { if (turn === state.turn) lost(error); });
  if (turn !== state.turn) return; // asked again meanwhile, perhaps for another window
  if (s) {
    Object.assign(state, { last: s, heard: Date.now(), failures: 0 });
    const down = Object.entries(s.server.models).filter(([, m]) => !m.ready).map(([name]) => name);
    if (s.server.draining) tell("busy", "Shutting down");
    else if (!s.server.ready || down.length) tell("busy", "Not ready", down.length ? `Not ready: ${down.join(", ")}` : "");
    else tell("ready", "Ready");
  }
  if (!document.hidden) state.timer = setTimeout(ask, Math.min(EVERY_MS * Math.max(1, state.failures), SLOWEST_MS));
  if (s) draw();
}

for (const input of document.querySelectorAll("input[name=window]")) input.addEventListener("change", ask);
$("scores-choice").addEventListener("change", () => { if (state.last) chart("scores"); });
document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(state.timer); else ask(); });
for (const name of Object.keys(DRAWN)) {
  const box = $(name).querySelector(".chart");
  box.setAttribute("role", "group");
  choosing(box, () => { if (state.last) chart(name); });
  new ResizeObserver(() => { if (state.last) chart(name); }).observe(box);
}
ask();
