"""The speed table: latency at batch 1 against other runtimes over the reference models.

`python -m edgerun_tools.speed --threads 1,2` times every model of MODELS that is present (data folder: EDGERUN_DATA, zoo: models/zoo),
checks on and off, interleaved with the peers, and prints ratios (their time / ours) and their geometric mean. With `--int8` the models are
those of INT8, and one more ratio tells what the 8 bits gain: the time of the same network in float32, by us too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import edgerun
from edgerun.errors import EdgeRunError
from edgerun_tools.peers import PEERS
from edgerun_tools.timing import Call, interleave, ratio

SCHEMA = "edgerun.speed/1"


@dataclass(frozen=True)
class Reference:
    """A model of the table: file relative to the data folder or the zoo, and its twins for LiteRT and in float32, if there are."""

    name: str
    file: str
    litert: str | None = None
    fp32: str | None = None


MODELS = (
    Reference("mlperf_ad01", "models/mlperf_ad01_fp32.onnx", "tflite/ad01_fp32.tflite"),
    Reference("mlperf_dscnn_kws", "models/mlperf_dscnn_kws_fp32.onnx", "tflite/dscnn_kws_fp32.tflite"),
    Reference("mlperf_resnet8", "models/mlperf_resnet8_cifar10_fp32.onnx", "tflite/resnet8_fp32.tflite"),
    Reference("mlperf_strww", "models/mlperf_strww_fp32.onnx"),
    Reference("mlperf_vww96", "models/mlperf_vww96_fp32.onnx", "tflite/vww96_fp32.tflite"),
    Reference("mobilenetv1_025_224", "models/st_mobilenetv1_025_imagenet224_fp32.onnx"),
    Reference("ultraface_slim320", "models/ultraface_slim320.onnx"),
    Reference("yolox_nano", "models/yolox_nano.onnx"),
    Reference("zoo/mnist_alexnet", "zoo/mnist_alexnet/model.onnx"),
    Reference("zoo/cifar10_alexnet", "zoo/cifar10_alexnet/model.onnx"),
    Reference("zoo/cifar10_resnet18", "zoo/cifar10_resnet18/model.onnx"),
    Reference("zoo/cifar10_vgg", "zoo/cifar10_vgg/model.onnx"),
    Reference("zoo/cifar10_mobilenet", "zoo/cifar10_mobilenet/model.onnx"),
)


def _int8(name: str, twin: str = "", litert: str = "") -> Reference:
    """By the stems of the files in the data folder."""
    return Reference(name, f"models/{name}.onnx", f"tflite/{litert}.tflite" if litert else None,
                     f"models/{twin}.onnx" if twin else None)


INT8 = (
    _int8("mlperf_ad01_int8qdq", "mlperf_ad01_fp32", "ad01_int8"),
    _int8("mlperf_dscnn_kws_int8qdq", "mlperf_dscnn_kws_fp32", "dscnn_kws_int8"),
    _int8("mlperf_dscnn_kws_qdq_s8s8_perchannel", "mlperf_dscnn_kws_fp32"),
    _int8("mlperf_dscnn_kws_qoperator_u8s8_pertensor", "mlperf_dscnn_kws_fp32"),
    _int8("mlperf_resnet8_cifar10_int8qdq", "mlperf_resnet8_cifar10_fp32", "resnet8_int8"),
    _int8("mlperf_resnet8_cifar10_qdq_s8s8_perchannel", "mlperf_resnet8_cifar10_fp32"),
    _int8("mlperf_resnet8_cifar10_qoperator_u8s8_pertensor", "mlperf_resnet8_cifar10_fp32"),
    _int8("mlperf_resnet8large_cifar10_int8qdq", "mlperf_resnet8large_cifar10_fp32"),
    _int8("mlperf_strww_int8qdq", "mlperf_strww_fp32", "strww_int8"),
    _int8("mlperf_vww96_int8qdq", "mlperf_vww96_fp32", "vww96_int8"),
    _int8("mlperf_vww96_qdq_s8s8_perchannel", "mlperf_vww96_fp32"),
    _int8("mlperf_vww96_qoperator_u8s8_pertensor", "mlperf_vww96_fp32"),
    _int8("coral_mobilenetv1_025_128_uint8qdq", litert="coral_mobilenetv1_025_128"),
    _int8("coral_mobilenetv1_050_160_uint8qdq"),
    _int8("coral_mobilenetv2_100_224_uint8qdq", litert="coral_mobilenetv2_100_224"),
    _int8("st_mobilenetv1_025_imagenet224_qdq_s8s8_perchannel", "st_mobilenetv1_025_imagenet224_fp32"),
    _int8("st_mobilenetv1_025_imagenet224_qoperator_u8s8_perchannel", "st_mobilenetv1_025_imagenet224_fp32"),
    _int8("tflm_micro_speech_int8qdq"),
    _int8("ultraface_slim320_qdq_s8s8_perchannel", "ultraface_slim320"),
    _int8("ultraface_slim320_qoperator_u8s8_pertensor", "ultraface_slim320"),
    _int8("yolox_nano_qdq_s8s8_perchannel", "yolox_nano"),
    _int8("yolox_nano_qoperator_u8s8_perchannel", "yolox_nano"),
)


def locate(reference: Reference, data: Path, zoo: Path) -> Path:
    """The model's file: "zoo/…" lies in the repository, everything else in the data folder."""
    folder, _, rest = reference.file.partition("/")
    return zoo / rest if folder == "zoo" else data / reference.file


def measure(path: Path, threads: int, peers: list[str], litert: Path | None, rounds: int, seed: int,
            fp32: Path | None = None) -> dict[str, Any]:
    """Medians in ms and ratios (their time / ours) for one model with random inputs: numbers in [0, 1), all 8-bit integers.
    fp32: the same network in float32, which we run too."""
    random = np.random.default_rng(seed)
    with ExitStack() as opened:
        checked, unchecked = (opened.enter_context(edgerun.Session(path, threads=threads, checks=c)) for c in ("maed", "off"))
        feeds = random_feeds(checked, random)
        backends: dict[str, Call] = {  # the call that ONNX Runtime's users make
            "edgerun": partial(edgerun.InferenceSession.of(checked).run, None, feeds),
            "unchecked": partial(edgerun.InferenceSession.of(unchecked).run, None, feeds),
        }
        if fp32 is not None:
            twin = opened.enter_context(edgerun.Session(fp32, threads=threads, checks="maed"))
            backends["fp32"] = partial(edgerun.InferenceSession.of(twin).run, None, random_feeds(twin, random))
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


def random_feeds(session: edgerun.Session, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers for every input, symbolic dimensions being 1."""
    feeds = {}
    for i in session.inputs:
        shape = tuple(d if isinstance(d, int) else 1 for d in i.shape)
        eight = i.dtype in (np.int8, np.uint8)
        feeds[i.name] = random.integers(0, 256, shape).astype(i.dtype) if eight else random.random(shape, dtype=np.float32)
    return feeds


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
    """Command line; prints JSON lines with --json, else a table. 1 where a model that is there cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.speed", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGERUN_DATA", "../shared/data")))
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--threads", default="1", help="comma separated")
    parser.add_argument("--against", default="ort,litert")
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--int8", action="store_true", help="the 8-bit models, and what they gain over float32")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    peers = options.against.split(",")
    console = Console(stderr=True)
    rows, failed = [], 0
    for reference in INT8 if options.int8 else MODELS:
        path = locate(reference, options.data, options.zoo)
        if options.only not in reference.name:
            continue
        if not path.exists():
            console.print(f"skipped {reference.name}: no {path}")
            continue
        litert, fp32 = (options.data / f if f and (options.data / f).exists() else None for f in (reference.litert, reference.fp32))
        for threads in map(int, options.threads.split(",")):
            try:
                report = measure(path, threads, peers, litert, options.rounds, options.seed, fp32)
            except EdgeRunError as e:
                console.print(f"failed {reference.name}: {e}", markup=False)
                failed = 1
                break
            rows.append({"schema": SCHEMA, "model": reference.name, "threads": threads, **report})
            console.print(f"{reference.name}, {threads} threads: {rows[-1]['ms']}")
            if options.json:
                print(json.dumps(rows[-1]))
    if not options.json:
        Console().print(table(rows, [*peers, "fp32"] if options.int8 else peers))
    return failed


if __name__ == "__main__":
    sys.exit(main())
