// What devices report by MQTT: where their answers came from, spells without the server, faults found on them.
import { SHAPES } from "./charts.js";
import { ago, count, NONE, percent, span } from "./format.js";
import { $, color, text } from "./panels.js";

const COLUMNS = ["Device", "Reports", "Answered by", "Without server", "Faults", "Dropped", "Last report"];
const HEARD = { stored: "", repeated: "repeated", store_failed: "not stored yet" };

// Shares of a device's answers: its exits, the server, and the deepest exit in want of the server.
function parts(d) {
  const exits = [...d.exits].sort((a, b) => a.exit.localeCompare(b.exit, "en", { numeric: true }));
  return [...exits.map((e, k) => ({ name: e.exit, count: e.count, paint: color(`exit${k % 6}`) })),
    { name: "server", count: d.server, paint: color("p90") }, { name: "fallback", count: d.fallback, paint: color("rejected") }].filter((p) => p.count);
}

function answered(d) {
  const made = document.createElement("td"), bar = document.createElement("div"), all = parts(d);
  bar.className = "shares";
  bar.ariaHidden = "true";
  for (const p of all) {
    const inner = document.createElement("i");
    inner.style.width = `${(100 * p.count) / d.reports}%`;
    inner.style.background = p.paint;
    bar.append(inner);
  }
  made.append(bar, text("span", all.map((p) => `${p.name} ${percent(p.count / d.reports)}`).join(", ") || NONE));
  return made;
}

function offline(d) {
  const o = d.offline, past = o.spells ? `${count(o.spells)} ${o.spells === 1 ? "spell" : "spells"}${o.longest_s ? `, longest ${span(o.longest_s)}` : ""}` : "";
  const now = o.now ? `${SHAPES.rejected} now${o.for_s >= 1 ? `, for ${span(o.for_s)}` : ""} (${o.reason})` : "";
  return text("td", [now, past].filter(Boolean).join("; ") || NONE, o.now ? "is-rejected" : o.spells ? "" : "zero");
}

function row(d) {
  const made = document.createElement("tr"), faults = d.findings ? `${SHAPES.fault} ${count(d.findings)} (${d.checks.join(", ")})` : "0";
  made.setAttribute("role", "row");
  made.append(text("td", d.device), text("td", count(d.reports), d.reports ? "" : "zero"), answered(d), offline(d),
    text("td", faults, d.findings ? "is-fault" : "zero"), text("td", count(d.dropped), d.dropped ? "is-rejected" : "zero"), text("td", ago(d.age_s)));
  [...made.children].forEach((td, k) => { td.setAttribute("role", "cell"); td.dataset.label = COLUMNS[k]; });
  return made;
}

export function reports(s) {
  const box = $("reports"), r = s.reports;
  box.hidden = !r;
  if (!r) return;
  box.querySelector("tbody").replaceChildren(...r.devices.map(row));
  box.querySelector("table").hidden = !r.devices.length;
  box.querySelector(".empty").hidden = r.devices.length > 0;
  box.querySelector(".empty").textContent = "No device reported anything since the server started.";
  const heard = Object.entries(r.collected).filter(([name, n]) => n && HEARD[name] !== "").map(([name, n]) => `${count(n)} ${HEARD[name] ?? name.replace("_", ": ")}`);
  $("reports-count").textContent = [r.connected === false ? `${SHAPES.error} the broker is not reached` : "", `${count(r.devices_seen)} by MQTT`, `${count(r.collected.stored ?? 0)} events stored`, ...heard].filter(Boolean).join(", ");
}

$("reports").querySelector("thead tr").append(...COLUMNS.map((label) => {
  const th = text("th", label);
  th.setAttribute("role", "columnheader");
  th.scope = "col";
  th.dataset.label = label;
  return th;
}));
