"""What hardening sees and costs under ONNX Runtime: `python -m edgerun_tools.harden_table`.

For every model of the data folder or the zoo that matches: clean runs on real inputs and how many of them raised a flag; random
bit flips (sign, exponent, highest mantissa bits) of weights in the file and in the optimised model, by what they did to the outputs;
and the CPU time on one thread, interleaved with the model as it was, with the optimiser's layout for x86-64 ("all") and without
("extended", as other machines have it). CPU time, unlike the wall's, is hardly longer where other programs run beside.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from edgerun import Session
from edgerun.importer.read import read
from edgerun_tools import common, data
from edgerun_tools.exit_runs import load
from edgerun_tools.hardening import harden_model
from edgerun_tools.hardening.campaign import campaign, clean, session, summary
from edgerun_tools.models_inputs import SHAPES, inputs_of

SCHEMA = "edgerun.harden_table/1"
SETTINGS = {"abft": ("abft", "finite"), "all": ("abft", "maed", "weights", "finite")}
LEVELS = ("all", "extended")
SETS = {"mnist": "mnist", "cifar10": "cifar10_test_5k.npz"}
"""Zoo models by the start of their name, and the set they are for."""
CALLS = 5
"""Calls of one model in a row."""
FEWEST_ROUNDS = 9
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A model to measure; `feeds(count)` makes as many inputs, evenly spread over its set."""

    name: str
    path: Path
    feeds: Callable[[int], list[Feeds]]


def subjects(root: Path, zoo: Path, pattern: str) -> list[Subject]:
    """Models that match, those of the data folder first."""
    found = [Subject(p.stem, p, partial(_of_folder, p, root)) for p in sorted((root / "models").glob("*.onnx"))]
    found += [Subject(p.parent.name, p, partial(_of_zoo, p, root)) for p in sorted(zoo.glob("*/model.onnx"))]
    return [s for s in found if any(fnmatch(s.name, one) for one in pattern.split(","))]


def _of_folder(path: Path, root: Path, count: int) -> list[Feeds]:
    with Session(path, shapes=SHAPES.get(path.stem, {})) as opened:
        inputs = inputs_of(path.stem, opened, root)
    return [inputs.feeds(k) for k in inputs.spread(count)]


def _of_zoo(path: Path, root: Path, count: int) -> list[Feeds]:
    images = load(str(root / "sets" / SETS[path.parent.name.partition("_")[0]]), "all").images
    with Session(path) as opened:
        name, recipe = opened.inputs[0].name, opened.preprocess
    assert recipe is not None
    return [{name: recipe.apply(images[k])} for k in np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]


def measure(subject: Subject, inputs: int, flips: int, duration: float) -> dict[str, Any]:
    """One row of the table. inputs: clean runs; flips: in the file, and as many in memory; duration: seconds of timing a level."""
    model = read(subject.path).proto
    made = {name: harden_model(model, checks) for name, checks in SETTINGS.items()}
    hardened = made["all"].model
    feeds = subject.feeds(inputs)
    few = feeds[::max(1, len(feeds) // 8)][:8]
    faults = {where: summary(campaign(hardened, few, flips, where=where)) for where in ("file", "memory")} if flips else {}
    return {"schema": SCHEMA, "model": subject.name, "checks": len(made["all"].checks),
            "bytes": {"before": model.ByteSize(), "after": hardened.ByteSize()},
            "clean": {"runs": len(feeds), "flagged": clean(hardened, feeds)}, "faults": faults,
            "cost": {level: _cost(model, {n: h.model for n, h in made.items()}, level, few[0], duration) for level in LEVELS}}


def _cost(model: Any, made: dict[str, Any], level: str, feeds: Feeds, duration: float) -> dict[str, float]:
    """Microseconds of the model, and what each setting adds to them, as a share: medians over rounds of calls in turn."""
    runners = {name: session(m.SerializeToString(), level) for name, m in ({"model": model} | made).items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    end = time.perf_counter() + duration
    while time.perf_counter() < end or len(times["model"]) < FEWEST_ROUNDS:
        for name, runner in runners.items():
            runner.run(None, feeds)  # untimed: its data come into the caches
            began = time.process_time_ns()
            for _ in range(CALLS):
                runner.run(None, feeds)
            times[name].append((time.process_time_ns() - began) / CALLS / 1e3)
    us = {name: statistics.median(t) for name, t in times.items()}
    return {"us": us["model"]} | {name: us[name] / us["model"] - 1 for name in made}


COLUMNS = ("model", "checks", "KiB", "clean runs", "flagged", "file: answers", "noticeable", "memory: answers", "noticeable",
           "µs", "abft", "all checks", "µs, extended", "abft", "all checks")


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text."""
    sizes = " → ".join(f"{row['bytes'][k] / 1024:.0f}" for k in ("before", "after"))
    counts = ["/".join(map(str, row["faults"][where][kind])) if row["faults"] else ""
              for where in ("file", "memory") for kind in ("answer", "noticeable")]
    times = [t for level in LEVELS for t in (f"{row['cost'][level]['us']:.0f}",
                                             *(f"{100 * row['cost'][level][s]:+.0f} %" for s in SETTINGS))]
    return [row["model"], str(row["checks"]), sizes, str(row["clean"]["runs"]), str(row["clean"]["flagged"]), *counts, *times]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of docs/hardened-onnx.md."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 1 where a clean run was flagged, or a changed answer was not."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.harden_table", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data.data_root(), help="folder with models/ and sets/; default $EDGERUN_DATA")
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"), help="folder of the zoo; default models/zoo")
    parser.add_argument("--only", default="*", metavar="GLOB,…", help="models by file name without .onnx, or name in the zoo")
    parser.add_argument("--inputs", type=int, default=500, help="clean runs (default 500)")
    parser.add_argument("--flips", type=int, default=200, help="bit flips in the file, and in memory (default 200)")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of timing for each level (default 5)")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of a table")
    options = parser.parse_args(argv)
    found = subjects(options.data, options.zoo, options.only)
    if not found:
        parser.error(f"expected models in {options.data / 'models'} or {options.zoo} that match {options.only!r}; found none")
    rows = []
    for subject in track(found, "models", console=common.errors, transient=True):
        rows.append(measure(subject, options.inputs, options.flips, options.duration))
        if options.json:
            common.print_json(rows[-1])
    if not options.json:
        print(markdown(rows), end="")
    return int(any(r["clean"]["flagged"] or any(f["silent"] for f in r["faults"].values()) for r in rows))


if __name__ == "__main__":
    sys.exit(main())
