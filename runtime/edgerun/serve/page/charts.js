// Drawings over time in SVG. Text and numbers go in as text nodes and attributes; nothing here reads markup.
const SVG = "http://www.w3.org/2000/svg";
export const SHAPES = { ok: "●", rejected: "▲", attack: "◆", fault: "■", error: "✕" };
const PAD = { left: 46, right: 14, top: 12, bottom: 24 };

export function node(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A mark of the key in front of its name: line, dashed line or block, as it is drawn.
export function mark(color, dash, block) {
  const shape = block ? node("rect", { x: 3, y: 1, width: 12, height: 10, rx: 2, fill: color })
    : node("line", { x1: 0, x2: 18, y1: 6, y2: 6, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash });
  return node("svg", { viewBox: "0 0 18 12", "aria-hidden": "true" }, shape);
}

function logTicks(low, high) {
  const ticks = [];
  for (let d = Math.floor(Math.log10(low)); 10 ** d <= high; d++) for (const m of [1, 2, 5]) ticks.push(m * 10 ** d);
  const inside = ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001);
  return inside.length > 6 ? inside.filter((t) => Math.abs(Math.log10(t) % 1) < 1e-6) : inside;
}

export function nice(high) {
  const size = 10 ** Math.floor(Math.log10(high || 1));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((m) => m * size).find((v) => v >= high * 0.999);
}

// Round values, evenly spread where the eye sees them: `bend` straightens the axis, `unbend` undoes it.
function bentTicks(low, high, bend, unbend) {
  const from = bend(low), step = (bend(high) - from) / 5;
  const ticks = [0, 1, 2, 3, 4, 5].map((k) => Number(unbend(from + k * step).toPrecision(1)));
  return [...new Set(ticks)].filter((t) => t >= low && t <= high);
}

// The frame of a chart: box, scales, grid, labels of both axes. `at(k)` is the middle of slot k, `y(value)` the height.
// knee: the axis is even up to about this value and logarithmic beyond (asinh), for values that may be a hundred times as large.
export function frame(box, { slots, seconds, low = 0, high, log = false, knee, label }) {
  const width = Math.max(box.clientWidth, 120), height = Math.max(box.clientHeight, 120);
  const inner = { w: width - PAD.left - PAD.right, h: height - PAD.top - PAD.bottom };
  const bend = (v) => Math.asinh(v / knee), unbend = (v) => Math.sinh(v) * knee;
  const y = knee ? (v) => PAD.top + inner.h * (1 - (bend(v) - bend(low)) / (bend(high) - bend(low)))
    : log ? (v) => PAD.top + inner.h * (1 - Math.log(Math.max(v, low) / low) / Math.log(high / low))
      : (v) => PAD.top + inner.h * (1 - (v - low) / (high - low));
  const x = (k) => PAD.left + (inner.w * k) / slots;
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const ticks = knee ? bentTicks(low, high, bend, unbend) : log ? logTicks(low, high) : [0, 0.25, 0.5, 0.75, 1].map((t) => low + t * (high - low));
  for (const t of ticks) {
    svg.append(node("line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y(t), y2: y(t) }),
      node("text", { x: PAD.left - 7, y: y(t) + 4, "text-anchor": "end" }, label(t)));
  }
  for (const part of width < 420 ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1]) {
    const s = seconds * (1 - part), text = s === 0 ? "now" : s >= 120 ? `−${Math.round(s / 60)} min` : `−${Math.round(s)} s`;
    svg.append(node("text", { x: PAD.left + inner.w * part, y: height - 6, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, text));
  }
  return { svg, x, y, width, height, step: inner.w / slots, at: (k) => x(k + 0.5), left: PAD.left, right: width - PAD.right,
    top: PAD.top, bottom: height - PAD.bottom, slots };
}

// Lines with gaps where nothing is known; a value without neighbours is a dot.
export function line(chart, values, color, dash) {
  let path = "", open = false;
  values.forEach((v, k) => {
    if (v == null) { open = false; return; }
    path += `${open ? "L" : "M"}${chart.at(k).toFixed(1)} ${chart.y(v).toFixed(1)}`;
    if (!open && values[k + 1] == null) path += "h0.01";
    open = true;
  });
  chart.svg.append(node("path", { d: path || null, fill: "none", stroke: color, "stroke-width": 2, "stroke-dasharray": dash,
    "stroke-linejoin": "round", "stroke-linecap": "round" }));
}

// The area between two series, where both are known.
export function band(chart, lower, upper, color) {
  let run = [];
  const close = () => {
    if (run.length > 1) {
      const edge = (values, list) => list.map((k) => `${chart.at(k).toFixed(1)} ${chart.y(values[k]).toFixed(1)}`).join("L");
      chart.svg.append(node("path", { d: `M${edge(upper, run)}L${edge(lower, [...run].reverse())}Z`, fill: color, opacity: 0.13 }));
    }
    run = [];
  };
  lower.forEach((v, k) => { if (v == null || upper[k] == null) close(); else run.push(k); });
  close();
}

// Bars on top of each other; series: [{values, color}], from the bottom up.
export function stack(chart, series) {
  const gap = chart.step > 5 ? 1.5 : 0.4, floor = new Array(chart.slots).fill(0);
  for (const { values, color } of series) {
    let path = "";
    values.forEach((v, k) => {
      if (!v) return;
      const top = chart.y(floor[k] + v), bottom = chart.y(floor[k]) - (floor[k] && chart.y(floor[k]) - top > 3 ? 1 : 0);
      path += `M${(chart.x(k) + gap / 2).toFixed(1)} ${bottom.toFixed(1)}V${top.toFixed(1)}h${(chart.step - gap).toFixed(1)}V${bottom.toFixed(1)}Z`;
      floor[k] += v;
    });
    if (path) chart.svg.append(node("path", { d: path, fill: color }));
  }
}

export function dot(chart, k, value, color, above) {
  const x = chart.at(k), y = chart.y(value);
  return above ? node("path", { d: `M${x} ${y - 5}l5 5l-5 5l-5 -5Z`, fill: color })
    : node("circle", { cx: x, cy: y, r: 2.2, fill: color, opacity: 0.75 });
}

// A line without axes, for a tile.
export function spark(box, values, color) {
  const high = Math.max(...values.map((v) => v ?? 0), 0);
  if (!high) { box.replaceChildren(); return; }
  const points = values.map((v, k) => `${((k * 100) / (values.length - 1)).toFixed(2)} ${(29 - (24 * (v ?? 0)) / high).toFixed(2)}`).join("L");
  box.replaceChildren(node("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" },
    node("path", { d: `M0 30L${points}L100 30Z`, fill: color, opacity: 0.16 }),
    node("path", { d: `M${points}`, fill: "none", stroke: color, "stroke-width": 1.6, "vector-effect": "non-scaling-stroke" })));
}

// The pointer, a finger or the arrow keys choose a slot; `chosen(k | null)` is told. The box keeps the choice while it is redrawn.
export function choosing(box, chosen) {
  const tell = (k) => { box.picked = k; chosen(k); };
  box.addEventListener("pointermove", (e) => {
    const c = box.chart;
    if (!c) return;
    const k = Math.floor((e.clientX - box.getBoundingClientRect().left - c.left) / c.step);
    tell(k >= 0 && k < c.slots ? k : null);
  });
  box.addEventListener("pointerleave", () => tell(null));
  box.addEventListener("blur", () => tell(null));
  box.addEventListener("keydown", (e) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[e.key];
    if (e.key === "Escape") tell(null);
    if (!move || !box.chart) return;
    e.preventDefault();
    tell(Math.min(Math.max((box.picked ?? box.chart.slots) + move, 0), box.chart.slots - 1));
  });
}

// Put a drawing into its box, with the line of the chosen slot over it.
export function show(box, chart) {
  if (box.picked != null && box.picked < chart.slots) {
    const x = chart.at(box.picked);
    chart.svg.append(node("line", { class: "cursor", x1: x, x2: x, y1: chart.top, y2: chart.bottom }));
  }
  box.chart = chart;
  box.replaceChildren(chart.svg);
}

export function nothing(box, text) {
  const made = document.createElement("p");
  made.className = "none";
  made.textContent = text;
  box.chart = null;
  box.replaceChildren(made);
}
