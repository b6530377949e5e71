"""docs/detection-results.md and its figure, from the entries of `experiment`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerun_tools import plots
from edgerun_tools.common import markdown_table
from edgerun_tools.detect import noise

GENUINE = ("inject", "replay")
"""Attacks that put genuine features in place of others: nothing in the features themselves is wrong."""
KNOWING = "adaptive"
NAMES = {"both": "both answers", "tail": "tail's answer", "features": "features only", "mse": "MSE-only VAE", "mahalanobis": "Mahalanobis",
         "paper": "four features, OC-SVM"}
COMMAND = "python -m edgerun_tools.detect.experiment --work work --out docs"
HEAD = f"""# What the detector finds: the tables

Made by `{COMMAND}` (extra `detect`); how it works, and what it cannot see: [detection.md](detection.md). CIFAR-10 test
images that nothing was trained or calibrated on. AUROC with DeLong's 95 % interval; "found" is the share found at 5 % false positives
under the same noise, with Clopper and Pearson's. Benign and attacked messages meet the same noise (alpha-stable, Gaussian, packet loss; a
third each). Every message that the attacker made counts, whether or not it turned the answer; "turned" is the share that did.
"""
SHORT = """Means over attacks, with the answers of tail and exit. Manipulated: all but inject and replay, which are genuine features in a
wrong place, and adaptive, which knows the detector. Turned: only messages that reached the attacker's goal.

![AUROC against noise](detection.png)
"""
RIVALS = "Mean AUROC over manipulated features: of all strengths, and at the highest.\n"
ALARMS = """Percent of benign test messages above the deployed threshold of 5 %, over all strengths, and at the highest. Laplace, drift and
bursts were met neither in training nor in calibration.
"""
DECISIONS = """On the same six statistics of the features alone: mean AUROC over manipulated features, and false alarms under noise never
met of a threshold for 5 % under the trained kinds. The file holds the mixture.
"""
TIMES = f"""Microseconds on one thread, median (least) of calls in turns on a shared machine, which moves the medians: `Detector.score` as
the server calls it, and `Session.run` of the tail; caches are as cold as the other leaves them. Without the exit's answer the witness
is run, too. `{COMMAND} --time-only` measures this table alone.
"""
Entry = Mapping[str, Any]


def write(entries: Sequence[Entry], out: Path) -> None:
    """Both files into a folder."""
    text = [HEAD, "## In short\n", summary(entries), SHORT, "## Against the rivals\n", rivals(entries), RIVALS, "## False alarms\n",
            alarms(entries), ALARMS, "## One-class decisions\n", decisions(entries), DECISIONS, "## Time\n", times(entries), TIMES]
    every = {r["attack"] for e in entries for r in e["rows"]}
    for e in entries:
        missing = sorted(every - {r["attack"] for r in e["rows"]})
        lacks = f"Not made here: {', '.join(missing)}.\n" if missing else ""
        text += [f"## {e['network']}, cut at `{e['tensor']}`\n", describe(e) + lacks, table(e)]
    out.mkdir(parents=True, exist_ok=True)
    (out / "detection-results.md").write_text("\n".join(text), encoding="utf-8")
    figure(entries, str(out / "detection.png"))


def best(e: Entry) -> str:
    """The mode that compares most."""
    return "both" if e["exits"] else "tail"


def mean(e: Entry, detector: str, strengths: Iterable[str] = noise.STRENGTHS, but: Iterable[str] = (*GENUINE, KNOWING),
         only: str = "", turned: bool = False) -> float:
    """Mean AUROC over attacks (all but some, or one only) and strengths; NaN where there is nothing."""
    kept = [r["auroc_turned" if turned else "auroc"] for r in e["rows"] if r["detector"] == detector and r["strength"] in set(strengths)
            and (r["attack"] == only if only else r["attack"] not in set(but))]
    values = [k["value"] for k in kept if k is not None]
    return float(np.mean(values)) if values else float("nan")


def summary(entries: Sequence[Entry]) -> str:
    rows = []
    for e in entries:
        b = best(e)
        held = [a for a in e["false_alarms"]["0.05"] if a["mode"] == b and a["held_out"]]
        rows.append([e["network"], _short(e["tensor"]), f"{mean(e, b):.3f}", f"{mean(e, b, turned=True):.3f}",
                     f"{mean(e, b, ['high']):.3f}", f"{mean(e, b, ['high'], turned=True):.3f}", f"{mean(e, b, but=[KNOWING]):.3f}",
                     f"{mean(e, b, only=KNOWING):.3f}",
                     f"{100 * _share(held):.2f} %", f"{100 * e['latency']['compact']['share']:.0f} %"])
    values = np.array([[float(c) for c in r[2:8]] for r in rows])
    rows.append(["mean", "", *(f"{v:.3f}" for v in values.mean(0)), "", ""])
    return markdown_table(["network", "cut", "manipulated", "turned", "highest noise", "turned", "with inject, replay", "adaptive",
                           "false alarms, noise never met (5 %)", "time, of the tail's"], rows)


def rivals(entries: Sequence[Entry]) -> str:
    known = list(dict.fromkeys(r["detector"] for e in entries for r in e["rows"]))
    rows = [[e["network"], _short(e["tensor"]), *(f"{mean(e, d):.3f}, {mean(e, d, ['high']):.3f}" for d in known)] for e in entries]
    return markdown_table(["network", "cut", *(NAMES.get(d, d) for d in known)], rows)


def alarms(entries: Sequence[Entry]) -> str:
    kinds = (*noise.TRAINED, *noise.HELD_OUT)
    rows = []
    for e in entries:
        for mode in dict.fromkeys(a["mode"] for a in e["false_alarms"]["0.05"]):
            of = [a for a in e["false_alarms"]["0.05"] if a["mode"] == mode]
            each = []
            for k in kinds:
                here = [a for a in of if a["kind"] == k]
                each.append(f"{100 * _share(here):.1f} ({100 * _share([a for a in here if a['strength'] == 'high']):.1f})")
            rows.append([e["network"], _short(e["tensor"]), mode, *each, f"{100 * _share([a for a in of if not a['held_out']]):.2f}",
                         f"{100 * _share([a for a in of if a['held_out']]):.2f}"])
    return markdown_table(["network", "cut", "mode", *(f"{k} (high)" for k in kinds), "trained kinds", "kinds never met"], rows)


def decisions(entries: Sequence[Entry]) -> str:
    known = list(dict.fromkeys(d for e in entries for d in e.get("decisions", {})))
    rows = [[e["network"], _short(e["tensor"]), *(f"{f['auroc']:.3f}, {100 * f['false']:.1f} %" for f in e["decisions"].values())]
            for e in entries if "decisions" in e]
    return markdown_table(["network", "cut", *known], rows)


def times(entries: Sequence[Entry]) -> str:
    rows = []
    for e in entries:
        c, a, p = (e["latency"][k] for k in ("compact", "alone", "paper"))
        each = [f"{t[k + '_us']:.1f} ({t[k + '_least_us']:.1f})" for t, k in ((c, "tail"), (c, "detector"), (a, "detector"),
                                                                                        (p, "detector"))]
        size = e["latency"]["bytes"]
        rows.append([e["network"], _short(e["tensor"]), *each[:2], f"{100 * c['share']:.1f} % ({100 * c['share_least']:.1f} %)", *each[2:],
                     f"{size['compact'] / 1e6:.2f}, {size['paper'] / 1e6:.1f}"])
    return markdown_table(["network", "cut", "tail", "detector", "of the tail's", "without the exit's answer", "published sizes",
                           "MB, both"], rows)


def describe(e: Entry) -> str:
    loss = ", ".join(f"{s} {100 * a:.1f} %" for s, a in e["accuracy"].items())
    s = e["sizes"]
    return (f"Features {e['shape']}, exits on the device: {', '.join(e['exits']) or 'none'}. Accuracy of the tail under the noise: {loss}. "
            f"Budget of gradient attacks: {e['budget']:g} robust scales an element. {s['train']:,} images trained, "
            f"{s['calibration']:,} set thresholds, {s['benign']:,} benign and {s['attacked']:,} attacked ones are compared; difference "
            f"between engine and PyTorch: {e['latency']['engine_torch_difference']:.1g}. Epochs of the rivals' networks: {s['mse']} (MSE), "
            f"{s['paper']} (four features). Options: `--only {e['network']}:N --train {s['train']} --attacked {s['attacked']} "
            f"--paper {s['paper']}`.\n")


def table(e: Entry) -> str:
    known = list(dict.fromkeys(r["detector"] for r in e["rows"]))
    b, others = best(e), [d for d in known if d != best(e)]
    rows = []
    for r in e["rows"]:
        if r["detector"] == b:
            same = {o["detector"]: o for o in e["rows"] if o["attack"] == r["attack"] and o["strength"] == r["strength"]}
            turned = r["auroc_turned"]
            rows.append([r["attack"], r["strength"], f"{100 * r['turned']:.0f} %", _estimate(r["auroc"]), _estimate(r["tpr"]),
                         "–" if turned is None else _estimate(turned), *(f"{same[o]['auroc']['value']:.3f}" for o in others)])
    columns = ["attack", "noise", "turned", f"AUROC, {NAMES[b]}", "found", "AUROC of the turned", *(NAMES.get(o, o) for o in others)]
    return markdown_table(columns, rows)


def figure(entries: Sequence[Entry], path: str) -> None:
    """A panel an entry: mean AUROC of manipulated features against the noise's strength, each detector, and the adaptive attacker."""
    pyplot = plots.require()
    columns = min(len(entries), 2)
    lines = -(-len(entries) // columns)
    drawn, axes = pyplot.subplots(lines, columns, figsize=(5.2 * columns, 3.4 * lines), squeeze=False, sharey=True)
    for panel in axes.flat[len(entries):]:
        panel.axis("off")
    for e, panel in zip(entries, axes.flat, strict=False):
        for d in dict.fromkeys(r["detector"] for r in e["rows"]):
            ours = d in ("both", "tail", "features")
            panel.plot(noise.STRENGTHS, [mean(e, d, [s]) for s in noise.STRENGTHS], "o-" if ours else "x:", label=NAMES.get(d, d))
        if any(r["attack"] == KNOWING for r in e["rows"]):
            panel.plot(noise.STRENGTHS, [mean(e, best(e), [s], only=KNOWING) for s in noise.STRENGTHS], "k--", label="adaptive attacker")
        panel.axhline(0.95, color="grey", linewidth=0.6)
        panel.set(title=f"{e['network']}, {_short(e['tensor'])}", ylim=(0.3, 1.02), xlabel="noise", ylabel="mean AUROC")
        panel.title.set_fontsize(9)
    marks, names = axes.flat[0].get_legend_handles_labels()
    drawn.tight_layout(rect=(0, 0.05, 1, 1))
    drawn.legend(marks, names, fontsize=8, loc="lower center", ncols=4)
    plots.save(drawn, path)


def _short(tensor: str) -> str:
    """The part of a name that tells places apart."""
    return "/".join(tensor.split("/")[2:]).replace("_output_0", "")


def _share(counts: Sequence[Mapping[str, Any]]) -> float:
    of = sum(c["of"] for c in counts)
    return sum(c["hits"] for c in counts) / of if of else float("nan")


def _estimate(e: Mapping[str, float]) -> str:
    return f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]"
