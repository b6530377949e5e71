"""What the presets of checks cost: latency and memory beside `off`, over the MLPerf Tiny networks, MobileNets and the zoo.

`python -m edgerun_tools.check_cost --threads 1,2` times every model that is present (data folder: EDGERUN_DATA, zoo: models/zoo) under all
presets in interleaved rounds. A round's figure is the fastest of its calls, since other work on the machine can only add to it; the
table shows the median over the rounds of its ratio to `off`, and the geometric mean over the models. Memory: what the session and its
plan hold beyond the model's constants.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import edgerun
from edgerun.errors import EdgeRunError
from edgerun.executors.engine import EngineExecutor
from edgerun.options import PRESETS
from edgerun_tools.info import cpu_model
from edgerun_tools.speed import INT8, MODELS, Reference, geometric_mean, locate, random_feeds
from edgerun_tools.timing import Call, interleave

SCHEMA = "edgerun.check-cost/1"
_MEASURED = {
    "mlperf_ad01", "mlperf_dscnn_kws", "mlperf_resnet8", "mlperf_strww", "mlperf_vww96", "mobilenetv1_025_224", "zoo/mnist_alexnet",
    "zoo/cifar10_alexnet", "zoo/cifar10_resnet18", "zoo/cifar10_vgg", "zoo/cifar10_mobilenet", "mlperf_ad01_int8qdq",
    "mlperf_dscnn_kws_int8qdq", "mlperf_resnet8_cifar10_int8qdq", "mlperf_vww96_int8qdq", "mlperf_strww_int8qdq",
    "coral_mobilenetv2_100_224_uint8qdq",
}
REFERENCES: tuple[Reference, ...] = tuple(r for r in (*MODELS, *INT8) if r.name in _MEASURED)


def measure(path: Path, threads: int, presets: list[str], rounds: int, seed: int) -> dict[str, Any]:
    """Per preset: fastest call in ms, overhead over "off" (median over the rounds), bytes held. Raises EdgeRunError."""
    with ExitStack() as opened:
        sessions = {c: opened.enter_context(edgerun.Session(path, threads=threads, checks=c, executor="engine")) for c in presets}
        feeds = random_feeds(sessions["off"], np.random.default_rng(seed))
        calls: dict[str, Call] = {c: partial(s.run, feeds) for c, s in sessions.items()}
        best = fastest(interleave(calls, rounds=rounds, warmup=30, seed=seed), rounds)
        held = {c: EngineExecutor(s.plan_for(feeds), threads=threads).memory for c, s in sessions.items()}
    return {"presets": {c: {"ms": min(best[c]), "overhead": statistics.median(a / b for a, b in zip(best[c], best["off"], strict=True)) - 1,
                            "bytes": held[c]} for c in presets}}


def fastest(timings: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """The fastest call of each round."""
    return {name: [float(block.min()) for block in np.array_split(t.calls, rounds)] for name, t in timings.items()}


def table(rows: list[dict[str, Any]], presets: list[str]) -> Table:
    """One line a model and thread count, then the geometric means."""
    others = [p for p in presets if p != "off"]
    out = Table("model", "threads", "off, ms", "KiB", title="what the presets add: time, memory")
    for name in others:
        out.add_column(name, no_wrap=True, justify="right")

    def cell(time: float, memory: float) -> str:
        return f"{time:+.1%} {memory:+.0%}"

    for row in rows:
        p = row["presets"]
        cells = (cell(p[c]["overhead"], p[c]["bytes"] / p["off"]["bytes"] - 1) for c in others)
        out.add_row(row["model"], str(row["threads"]), f"{p['off']['ms']:.3f}", f"{p['off']['bytes'] / 1024:.0f}", *cells)
    for threads in sorted({r["threads"] for r in rows}):
        mine = [r["presets"] for r in rows if r["threads"] == threads]
        means = (cell(geometric_mean([1 + p[c]["overhead"] for p in mine]) - 1,
                      geometric_mean([p[c]["bytes"] / p["off"]["bytes"] for p in mine]) - 1) for c in others)
        out.add_row("[bold]geometric mean", str(threads), "", "", *means)
    return out


def main(argv: list[str] | None = None) -> int:
    """Command line; prints JSON lines with --json, else a table. 1 where a model that is there cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.check_cost", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGERUN_DATA", "../shared/data")))
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--threads", default="1,2", help="comma separated")
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    console, presets = Console(stderr=True), list(PRESETS)
    rows, failed = [], 0
    for reference in REFERENCES:
        path = locate(reference, options.data, options.zoo)
        if options.only not in reference.name:
            continue
        if not path.exists():
            console.print(f"skipped {reference.name}: no {path}")
            continue
        for threads in map(int, options.threads.split(",")):
            try:
                report = measure(path, threads, presets, options.rounds, options.seed)
            except EdgeRunError as e:
                console.print(f"failed {reference.name}: {e}", markup=False)
                failed = 1
                break
            rows.append({"schema": SCHEMA, "model": reference.name, "threads": threads, "cpu": cpu_model(), **report})
            told = ", ".join(f"{c} {p['overhead']:+.1%}" for c, p in report["presets"].items())
            console.print(f"{reference.name}, {threads} threads: {told}")
            if options.json:
                print(json.dumps(rows[-1]))
    if not options.json:
        Console().print(table(rows, presets))
    return failed


if __name__ == "__main__":
    sys.exit(main())
