"""The report of a campaign as one HTML page without outside files; it reads on a phone, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from edgerun_tools.faults.bundle import OFF
from edgerun_tools.faults.models import MODELS
from edgerun_tools.faults.places import SITES
from edgerun_tools.faults.trial import CLASSES

COLOURS = {"masked": "#9aa5ad", "detected": "#3b7dd8", "detected_late": "#8fb8ef", "corrected": "#2e9e6b", "sdc_critical": "#d23f31",
           "sdc_tolerable": "#f0a53a", "due": "#5b2a86"}
WORDS = {"masked": "masked", "detected": "detected", "detected_late": "detected late", "corrected": "corrected",
         "sdc_critical": "critical SDC", "sdc_tolerable": "tolerable SDC", "due": "crash, error or hang"}
Cells = Iterable[Sequence[str]]


def page(summary: Mapping[str, Any], cost: Mapping[str, Any] | None, planned: int) -> str:
    """summary: of `tables.summarise`; cost: of `cost.measure`, or None; planned: faults that the campaign has."""
    c, presets, done = summary["campaign"], summary["presets"], summary["faults"]
    checked = {n: p for n, p in presets.items() if n != OFF}
    none = "" if checked else "<p>No preset with checks.</p>"
    text = Template(files("edgerun_tools.faults").joinpath("report.html").read_text(encoding="utf-8"))
    return text.substitute(
        title=escape(f"Fault injection: {c['model']}"),
        facts=escape(f"{done:,} faults under {len(presets)} presets, {c['inputs']['count']} inputs of {c['inputs']['source']}; edgerun "
                     f"{c['version']}, {c['isa']}, {c['settings']['threads']} thread(s); model {c['model_sha256'][:16]}…"),
        unfinished="" if done >= planned else f"<p><b>Not finished: {done:,} of {planned:,} faults.</b></p>",
        confidence=f"{100 * c['confidence']:g} %", coverage=_coverage(presets), bars=_bars(presets),
        key="".join(f'<span><i style="background:{COLOURS[k]}"></i>{WORDS[k]}</span>' for k in CLASSES),
        classes="".join(f"<h3>{escape(n)}</h3>" + _scroll(_by_site(p)) for n, p in presets.items()),
        heat=_heats(c, presets, list(presets)[-1]), checks="".join(_checks(n, p) for n, p in checked.items()) + none,
        cost=_cost(cost), missed="".join(_missed(n, p) for n, p in checked.items()) + none,
        behaviour=_behaviour(presets), method="".join(f"<li>{escape(line)}</li>" for line in method(c)),
        models=_table(("model", "what happens"), ((m, MODELS[m]) for m in c["models"]), text=True),
        sites=_table(("site", "what it is"), ((s, SITES.get(s, "")) for s in dict.fromkeys(p["site"] for p in c["places"])), text=True),
        command=escape(c["command"]))


def method(c: Mapping[str, Any]) -> list[str]:
    """How the campaign was made, a sentence each."""
    return [
        f"Seed {c['seed']}; sample size per site for ±{100 * c['margin']:g} points at {100 * c['confidence']:g} % (Leveugle et al. 2009, "
        f"finite population, p = 0.5), shared over steps by size with at least {c['least']} faults each, bit positions taking turns.",
        "Every preset got the same faults on the same inputs (paired comparison).",
        f"Inputs: {c['inputs']['count']} of {c['inputs']['source']} that are answered right without faults, classes taking turns.",
        "Clean answers were computed twice by every process and had to be equal bit for bit.",
        f"Faults that stay in memory were watched for {c['later']} further runs on other inputs, {c['settings']['scrub_bytes']:,} bytes of "
        "weights being verified in each (check weights); then all of them were (late, one run more).",
        f"Reaction to a finding: {c['settings'].get('on_fault', 'what each preset has by default')}.",
        "Trials ran in forked processes; crashes and hangs were repeated alone before they were counted. " + (
            "" if c["fixed_addresses"] else "The system kept its addresses random: what wild accesses of struck parameters hit may differ "
            "from run to run."),
        "Intervals: Clopper-Pearson.",
        f"Build: {c['binary_sha256'][:16]}… ({c['compiler']}).",
    ]


def rate(p: Mapping[str, Any], *, interval: bool = True) -> str:
    """"99.12 % (98.9 – 99.3)", or a dash where there was nothing to count."""
    if not p["trials"]:
        return "–"
    return f"{100 * p['rate']:.2f} %" + (f" ({100 * p['low']:.2f} – {100 * p['high']:.2f})" if interval else "")


def _coverage(presets: Mapping[str, Any]) -> str:
    rows = []
    for name, p in presets.items():
        v = p["coverage"]
        rows.append((name, rate(v["critical"]), f"{100 * v['critical']['at_least']:.2f} %" if v["critical"]["trials"] else "–",
                     f"{v['critical']['hits']:,} of {v['critical']['trials']:,}", rate(v["critical_with_late"], interval=False),
                     rate(v["effective"]), rate(v["own"])))
    return _table(("preset", "critical", "at least", "faults", "late alarms too", "effective", "of all not masked here"), rows)


def _bars(presets: Mapping[str, Any]) -> str:
    """A bar a preset, as inline SVG."""
    parts = []
    for k, (name, p) in enumerate(presets.items()):
        total, x = sum(p["classes"].values()) or 1, 130.0
        parts.append(f'<text x="0" y="{k * 26 + 17}" fill="currentColor" font-size="13">{escape(name)}</text>')
        for outcome, n in p["classes"].items():
            width = 560 * n / total
            if n:
                parts.append(f'<rect x="{x:.1f}" y="{k * 26 + 4}" width="{width:.2f}" height="18" fill="{COLOURS[outcome]}">'
                             f"<title>{WORDS[outcome]}: {n:,} ({100 * n / total:.2f} %)</title></rect>")
            x += width
    return f'<svg viewBox="0 0 700 {26 * len(presets) + 6}" role="img" aria-label="classes by preset">{"".join(parts)}</svg>'


def _by_site(p: Mapping[str, Any]) -> str:
    head = ("site", "faults", *(WORDS[c] for c in CLASSES), "critical coverage", "critical or crash", "weighted by size")
    rows = [(site, f"{s['faults']:,}", *(f"{n:,}" for n in s["classes"].values()), rate(s["coverage"]["critical"]), rate(s["serious"]),
             f"{100 * s['serious_weighted']:.2f} %") for site, s in p["sites"].items()]
    total = p["classes"]
    rows.append(("all", f"{sum(total.values()):,}", *(f"{n:,}" for n in total.values()), rate(p["coverage"]["critical"]), "", ""))
    return _table(head, rows)


def _heats(c: Mapping[str, Any], presets: Mapping[str, Any], strongest: str) -> str:
    layers = {p["step"]: f"{p['step']} {p['node'] or p['op'] or p['kernel']}" for p in c["places"]}
    sites = list(dict.fromkeys(p["site"] for p in c["places"]))
    parts = []
    for name in dict.fromkeys((OFF, strongest)):
        bits = sorted({cell[1] for cell in presets[name]["heat"]["bit"]})
        parts.append(f"<h3>{escape(name)}: step × site</h3>" + _heat(presets[name]["heat"]["site"], layers, sites))
        parts.append(f"<h3>{escape(name)}: step × lowest bit that was hit</h3>" + _heat(presets[name]["heat"]["bit"], layers, bits))
    return "".join(parts)


def _heat(cells: Sequence[Sequence[Any]], layers: Mapping[int, str], columns: Sequence[Any]) -> str:
    found = {(step, what): (n, serious) for step, what, n, serious, _ in cells}
    rows = []
    for step in sorted(layers):
        row = [f'<td title="{escape(layers[step])}">{escape(layers[step])}</td>']
        for what in columns:
            n, serious = found.get((step, what), (0, 0))
            share = serious / n if n else 0.0
            shown = "·" if not n else "" if not serious else f"{100 * share:.0f}"
            row.append(f'<td style="background:rgba(210,63,49,{share ** 0.5:.2f})" title="{serious} of {n}">{shown}</td>')
        rows.append(f"<tr>{''.join(row)}</tr>")
    head = "".join(f"<th>{escape(str(w))}</th>" for w in columns)
    return f'<div class="scroll"><table class="heat"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _checks(name: str, p: Mapping[str, Any]) -> str:
    rows = [(check, f"{v['first']:,}", f"{v['fired']:,}", f"{v['alone']:,}", rate(v["without"])) for check, v in p["checks"].items()]
    found = _scroll(_table(("check", "first", "spoke", "alone", "without it"), rows)) if rows else "<p>No alarms.</p>"
    return f"<h3>{escape(name)}</h3>{found}"


def _cost(cost: Mapping[str, Any] | None) -> str:
    if cost is None:
        return "<p>Not measured in this campaign (<code>--cost 0</code>).</p>"
    rows = [(n, f"{v['p50_ms']:.3f}", "" if n == OFF else f"{100 * v['overhead']:+.1f} % ({100 * v['p25']:+.1f} – {100 * v['p75']:+.1f})")
            for n, v in cost["presets"].items()]
    return _scroll(_table(("preset", "median ms", "over off (quartiles of rounds)"), rows)) + (
        f'<p class="dim">{cost["rounds"]} interleaved rounds, {cost["threads"]} thread(s), {escape(cost["cpu"])}.</p>')


def _missed(name: str, p: Mapping[str, Any]) -> str:
    rows = [(m["site"], m["model"], f"{m['missed']['hits']:,} of {m['missed']['trials']:,}", rate(m["missed"]),
             ", ".join(map(str, m["steps"]))) for m in p["missed"]]
    found = _scroll(_table(("site", "fault model", "missed", "share", "most in steps"), rows))
    return f"<h3>{escape(name)}</h3>{found if rows else '<p>Nothing of what was injected.</p>'}"


def _behaviour(presets: Mapping[str, Any]) -> str:
    def spread(v: Mapping[str, int]) -> str:
        return f"{v['p50']} / {v['p99']} / {v['max']} ({v['count']:,})" if v["count"] else "–"

    rows = []
    for name, p in presets.items():
        f = p["false_alarms"]
        rows.append((name, spread(p["latency"]["steps"]), spread(p["latency"]["runs"]), rate(p["recovery"]["transient"]),
                     rate(p["recovery"]["stored"]), f"{f['hits']} of {f['trials']:,}",
                     f"< {100 * f['at_most']:.2g} %" if f["trials"] else "–", f"{p['harmless_alarms']:,}", f"{p['miscorrected']:,}",
                     f"{p['absent']:,}"))
    return _table(("preset", "steps: p50 / p99 / max (n)", "late, runs: p50 / p99 / max (n)", "recovered, transient",
                   "recovered, in memory", "false alarms", "rate, upper bound", "alarm, outputs right", "repaired wrongly",
                   "nothing there"), rows)


def _table(head: Sequence[str], rows: Cells, *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    body = "".join("<tr>" + "".join(f"<td{kind if k else ''}>{escape(v)}</td>" for k, v in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(h)}</th>' for h in head)}</tr>{body}</table>"


def _scroll(table: str) -> str:
    return f'<div class="scroll">{table}</div>'
