"""The speed table: float32 latency at batch 1 against other runtimes over the reference models.

`python -m edgerun_tools.speed --threads 1,2` times every model of MODELS that is present (data folder: EDGERUN_DATA, zoo: models/zoo),
checks on and off, interleaved with the peers, and prints ratios (their time / ours) and their geometric mean.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import edgerun
from edgerun_tools.peers import PEERS
from edgerun_tools.timing import Call, interleave, ratio

SCHEMA = "edgerun.speed/1"


@dataclass(frozen=True)
class Reference:
    """A model of the table: file relative to the data folder or the zoo, and its LiteRT twin if there is one."""

    name: str
    file: str
    litert: str | None = None


MODELS = (
    Reference("mlperf_ad01", "models/mlperf_ad01_fp32.onnx", "tflite/ad01_fp32.tflite"),
    Reference("mlperf_dscnn_kws", "models/mlperf_dscnn_kws_fp32.onnx", "tflite/dscnn_kws_fp32.tflite"),
    Reference("mlperf_resnet8", "models/mlperf_resnet8_cifar10_fp32.onnx", "tflite/resnet8_fp32.tflite"),
    Reference("mlperf_vww96", "models/mlperf_vww96_fp32.onnx", "tflite/vww96_fp32.tflite"),
    Reference("mobilenetv1_025_224", "models/st_mobilenetv1_025_imagenet224_fp32.onnx"),
    Reference("ultraface_slim320", "models/ultraface_slim320.onnx"),
    Reference("yolox_nano", "models/yolox_nano.onnx"),
    Reference("zoo/mnist_alexnet", "zoo/mnist_alexnet/model.onnx"),
    Reference("zoo/cifar10_alexnet", "zoo/cifar10_alexnet/model.onnx"),
    Reference("zoo/cifar10_resnet18", "zoo/cifar10_resnet18/model.onnx"),
)


def locate(reference: Reference, data: Path, zoo: Path) -> Path:
    """The model's file: "zoo/…" lies in the repository, everything else in the data folder."""
    folder, _, rest = reference.file.partition("/")
    return zoo / rest if folder == "zoo" else data / reference.file


def measure(path: Path, threads: int, peers: list[str], litert: Path | None, rounds: int, seed: int) -> dict[str, Any]:
    """Medians in ms and ratios (their time / ours) for one model with random inputs in [0, 1)."""
    random = np.random.default_rng(seed)
    with (
        edgerun.Session(path, threads=threads, checks="maed") as checked,
        edgerun.Session(path, threads=threads, checks="off") as unchecked,
    ):
        feeds = {i.name: random.random(tuple(d if isinstance(d, int) else 1 for d in i.shape), dtype=np.float32)
                 for i in checked.inputs}
        backends: dict[str, Call] = {  # the call that ONNX Runtime's users make
            "edgerun": partial(edgerun.InferenceSession.of(checked).run, None, feeds),
            "unchecked": partial(edgerun.InferenceSession.of(unchecked).run, None, feeds),
        }
        for name in peers:
            if name != "litert" or litert is not None:
                backends[name] = PEERS[name](path, feeds, threads, litert)
        timings = interleave(backends, rounds=rounds, warmup=10, seed=seed)
    ours = timings["edgerun"]
    return {
        "ms": {name: float(np.median(t.rounds)) for name, t in timings.items()},
        "ratio": {name: ratio(t, ours) for name, t in timings.items() if name not in ("edgerun", "unchecked")},
        "check_cost": ratio(ours, timings["unchecked"])["median"] - 1,
    }


def geometric_mean(values: list[float]) -> float:
    """NaN when empty."""
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def table(rows: list[dict[str, Any]], peers: list[str]) -> Table:
    """One line a model and thread count, then the geometric means."""
    out = Table("model", "threads", "ms", *peers, "checks", title="their time / ours (above 1: edgerun is faster)")
    for row in rows:
        cells = [f"{row['ratio'][p]['median']:.2f}" if p in row["ratio"] else "–" for p in peers]
        out.add_row(row["model"], str(row["threads"]), f"{row['ms']['edgerun']:.3f}", *cells, f"{row['check_cost']:+.1%}")
    for threads in sorted({r["threads"] for r in rows}):
        mine = [r for r in rows if r["threads"] == threads]
        means = [geometric_mean([r["ratio"][p]["median"] for r in mine if p in r["ratio"]]) for p in peers]
        cost = geometric_mean([1 + r["check_cost"] for r in mine]) - 1
        out.add_row("[bold]geometric mean", str(threads), "", *(f"{m:.2f}" for m in means), f"{cost:+.1%}")
    return out


def main(argv: list[str] | None = None) -> int:
    """Command line; prints JSON lines with --json, else a table."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.speed", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGERUN_DATA", "../shared/data")))
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--threads", default="1", help="comma separated")
    parser.add_argument("--against", default="ort,litert")
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    peers = options.against.split(",")
    console = Console(stderr=True)
    rows = []
    for reference in MODELS:
        path = locate(reference, options.data, options.zoo)
        if options.only not in reference.name:
            continue
        if not path.exists():
            console.print(f"skipped {reference.name}: no {path}")
            continue
        litert = options.data / reference.litert if reference.litert else None
        for threads in map(int, options.threads.split(",")):
            report = measure(path, threads, peers, litert, options.rounds, options.seed)
            rows.append({"schema": SCHEMA, "model": reference.name, "threads": threads, **report})
            console.print(f"{reference.name}, {threads} threads: {rows[-1]['ms']}")
            if options.json:
                print(json.dumps(rows[-1]))
    if not options.json:
        Console().print(table(rows, peers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
