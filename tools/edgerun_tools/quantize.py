"""`edgerun quantize`: an 8-bit model from a float32 one, with its accuracy before and after."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session
from edgerun.errors import DataError, InputError, ModelError, OptionError
from edgerun.exits import KEY as CALIBRATION_KEY
from edgerun.importer.read import read
from edgerun_tools import common, exit_runs, quantize_ort
from edgerun_tools.common import answers
from edgerun_tools.quantize_data import Rows, digest, load
from edgerun_tools.quantize_ort import ACTIVATIONS, FORMATS, METHODS, Settings

SCHEMA = "edgerun.quantize/1"
KEY = "edgerun.quantized"
"""Metadata of the result: JSON with the settings, and name, number and digest of the calibration inputs."""
DEFAULT_LIMIT = 500
"""Calibration inputs used unless the caller says how many: the ranges of a few hundred hardly change with more."""
NOTICEABLE_POINTS = 1.0
"""A loss of accuracy from which other settings are suggested."""
DROPPED = ("its thresholds and times are those of the float32 network, and are tied to its graph: calibrate the quantised "
           "model")


def quantize(model: str, out: str, calibration: str, data: str | None = None, settings: Settings | None = None, *,
             calibration_part: str = "all", part: str = "all", limit: int = DEFAULT_LIMIT, threads: int | None = None,
             executor: str = "auto", show_progress: bool = False) -> dict[str, Any]:
    """Quantise a model to 8 bits, write it, and return the report, schema "edgerun.quantize/1" (docs/cli.md).

    calibration, data: see `quantize_data.load`; limit: calibration inputs used, spread evenly. The result has float32
    inputs and outputs of the same names, and the model's metadata but for the calibration of early exits. Accuracy is
    measured on those inputs of `data` that did not calibrate. ModelError, DataError, InputError, OptionError.
    """
    settings = settings or Settings()
    quantize_ort.require()
    if os.path.exists(out) and os.path.exists(model) and os.path.samefile(out, model):
        raise OptionError(f"--out {out}: expected another file than the model, which would be lost; found the same")
    if not Path(out).absolute().parent.is_dir():
        raise OptionError(f"--out {out}: expected a folder that exists; found none at {Path(out).parent}")
    given = read(model).proto
    quantize_ort.require_float(given, model)
    source = _bare(given)
    with (exit_runs.bars(show_progress) as progress, Session(source.SerializeToString(), threads=threads,
                                                             executor=executor) as before):
        before.name = model
        rows = load(before, calibration, calibration_part, limit)
        tests = None if data is None else load(before, data, part, labelled=True)
        seen: dict[bytes, None] = {}
        result = quantize_ort.quantise(source, _Noted(rows, seen), settings, lambda k, n: progress("calibrate", k, n))
        kept = _describe(result, source, settings, rows, list(seen))
        blob = result.SerializeToString()
        with _opened(blob, out, threads=threads, executor=executor) as after:
            accuracy = None if tests is None else _accuracies(before, after, tests, seen, progress)
    _write(out, blob)
    dropped = any(p.key == CALIBRATION_KEY for p in given.metadata_props)
    sizes = {"before": os.path.getsize(model), "after": len(blob)}
    return {"schema": SCHEMA, "model": model, "out": out, **settings.to_json(),
            "calibration": {"name": rows.source, "inputs": len(rows)}, "bytes": sizes, "metadata": kept,
            "exit_calibration": {"dropped": dropped, "reason": DROPPED} if dropped else None, "accuracy": accuracy,
            "next": _next(out, data, dropped, accuracy, settings)}


def _opened(blob: bytes, out: str, **options: Any) -> Session:
    """The quantised model, before it is written: what cannot be run here is not handed out."""
    try:
        session = Session(blob, **options)
    except ModelError as e:
        raise type(e)(f"quantize: expected that edgerun runs the quantised model; {out} is not written: {e}") from e
    session.name = out
    return session


class _Noted:
    """Rows that leave their digest behind when they are read."""

    def __init__(self, rows: Rows, seen: dict[bytes, None]) -> None:
        self._rows, self._seen = rows, seen

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        row = self._rows[i]
        self._seen[digest(row)] = None
        return row


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the calibration of its exits, which fits one graph only."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    copy.metadata_props.extend(p for p in model.metadata_props if p.key != CALIBRATION_KEY)
    return copy


def _describe(result: onnx.ModelProto, source: onnx.ModelProto, settings: Settings, rows: Rows, seen: list[bytes]) -> list[str]:
    """Put the source's metadata into the result, and how it was made; the keys of ours that it then has."""
    names = {o.name for o in result.graph.output}
    lost = [o.name for o in source.graph.output if o.name not in names]
    if lost:
        raise ModelError(f"quantize: expected that ONNX Runtime's quantiser keeps the outputs; found no {', '.join(lost)}")
    made = {"settings": settings.to_json(), "calibration": {"name": rows.source, "inputs": len(rows),
                                                            "sha256": hashlib.sha256(b"".join(seen)).hexdigest()}}
    metadata = {p.key: p.value for p in (*result.metadata_props, *source.metadata_props)} | {KEY: json.dumps(made)}
    del result.metadata_props[:]
    for key, value in metadata.items():
        result.metadata_props.add(key=key, value=value)
    return sorted(k for k in metadata if k.startswith("edgerun."))


def _write(out: str, blob: bytes) -> None:
    temporary = Path(out).with_name(Path(out).name + ".part")
    try:
        temporary.write_bytes(blob)
        temporary.replace(out)
    except OSError as e:
        raise OptionError(f"--out {out}: expected a file that can be written; found: {e}") from e


# -- accuracy ---------------------------------------------------------------------------------------------------------


def _accuracies(before: Session, after: Session, tests: Rows, seen: dict[bytes, None], progress: Any) -> dict[str, Any]:
    """Top-1 of both models by our runtime, one an exit where there are exits, on inputs that did not calibrate."""
    assert tests.labels is not None
    answered: list[tuple[list[int], list[int]]] = []
    labels = []
    for i in range(len(tests)):
        row = tests[i]
        if digest(row) not in seen:
            answered.append((_answers(before, row), _answers(after, row)))
            labels.append(tests.labels[i])
        progress("test", i + 1, len(tests))
    if not answered:
        raise DataError(f"--data {tests.source}: expected inputs that were not used for the calibration; all of its "
                        f"{len(tests)} were; use fewer (--limit) or another set")
    found = np.array(answered)  # [inputs, before and after, exits]
    right = found == np.array(labels)[:, None, None]
    first, last = (right[:, k].mean(axis=0) for k in (0, 1))
    return {"data": tests.source, "images": len(labels), "left_out": len(tests) - len(labels),
            "exits": list(before.exits), "before": first.tolist(), "after": last.tolist(),
            "loss_points": float(100 * (first[-1] - last[-1])), "agreement": float((found[:, 0, -1] == found[:, 1, -1]).mean())}


def _answers(session: Session, row: dict[str, np.ndarray]) -> list[int]:
    """The class with the highest score, at every exit or at the only output."""
    outputs = session.run(row).outputs
    names = session.exits or tuple(outputs)
    if len(names) > 1 and not session.exits:
        raise InputError(f"{session.name}: expected one output with class scores, or metadata edgerun.exits; found "
                         f"{', '.join(names)}; leave --data away")
    return [int(outputs[n].reshape(-1).argmax()) for n in names]


def _next(out: str, data: str | None, dropped: bool, accuracy: dict[str, Any] | None, settings: Settings) -> str:
    """One thing to do now."""
    if accuracy is not None and accuracy["loss_points"] > NOTICEABLE_POINTS:
        others = [f"--method {m}" for m in ("entropy", "percentile") if m != settings.method]
        others += [] if settings.per_channel else ["no --per-tensor"]
        return f"the loss is noticeable: try {', '.join(others)}, or other calibration images"
    if dropped:
        return f"edgerun calibrate {out} --data …: learn when to exit early, for the quantised network"
    if data is None:
        return f"edgerun eval {out} --data …: measure its accuracy on labelled images"
    return f"edgerun inspect {out}: which layers run in 8 bits, and why others do not"


# -- command ----------------------------------------------------------------------------------------------------------


def show(report: dict[str, Any]) -> None:
    """What the command prints."""
    a, sizes = report["accuracy"], report["bytes"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    table.add_row("file", f"{sizes['before'] / 1024:.0f} KiB", f"{sizes['after'] / 1024:.0f} KiB",
                  f"{sizes['after'] / sizes['before']:.2f} x")
    for k, (first, last) in enumerate(zip(a["before"], a["after"], strict=True) if a else ()):
        what = f"accuracy of {a['exits'][k]}" if a["exits"] else "accuracy"
        table.add_row(escape(what), f"{100 * first:.2f} %", f"{100 * last:.2f} %", f"{100 * (last - first):+.2f}")
    answers.print(table)
    weights = "per channel" if report["per_channel"] else "per tensor"
    answers.print(f"{report['format']}, weights int8 {weights}, activations {report['activations']} by {report['method']} over "
                  f"{report['calibration']['inputs']} inputs of {escape(report['calibration']['name'])}", soft_wrap=True)
    if a:
        left = f" ({a['left_out']} that calibrated left out)" if a["left_out"] else ""
        answers.print(f"accuracy on {a['images']} images of {escape(a['data'])}{left}; the same answer on "
                      f"{100 * a['agreement']:.2f} %", soft_wrap=True)
    if report["exit_calibration"]:
        answers.print(f"the calibration of the early exits was dropped: {report['exit_calibration']['reason']}", soft_wrap=True)
    answers.print(f"written into {escape(report['out'])}", soft_wrap=True)
    answers.print(f"next: {escape(report['next'])}", soft_wrap=True)


def command(
    model: common.Model,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.onnx", show_default=False, help=(
        "Write the quantised model here."))],
    calibration: Annotated[str, typer.Option("--calibration", "-c", metavar="DIR|FILE.npz", show_default=False, help=(
        "A few hundred typical inputs, no labels needed: a folder of images, .npy, .npz, or a set as of --data."))],
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="SET", help=(
        "Labelled images to measure the accuracy with, before and after; those that calibrated are left out."))] = None,
    per_tensor: Annotated[bool, typer.Option("--per-tensor", help=(
        "One scale for a whole weight instead of one for every output channel."))] = False,
    format: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help=(
        "qdq: QuantizeLinear and DequantizeLinear around float operators; qoperator: QLinearConv and the like."))] = "qdq",
    activations: Annotated[str, typer.Option("--activations", metavar="|".join(ACTIVATIONS), help=(
        "Type of intermediate results."))] = "int8",
    method: Annotated[str, typer.Option("--method", metavar="|".join(METHODS), help=(
        "How ranges come from the calibration inputs: all of them, or without rare extremes."))] = "minmax",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Calibration inputs used at most, spread evenly.")] = DEFAULT_LIMIT,
    calibration_part: Annotated[str, typer.Option("--calibration-part", metavar="all|train|calibration|test", help=(
        "As --part, of the calibration set."))] = "all",
    part: Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
        "A fixed split of the MNIST or CIFAR-10 sets this project uses, of --data."))] = "all",
    threads: common.Threads = None,
    as_json: common.AsJson = False,
    executor: common.Executor = "auto",
) -> None:
    """Make an 8-bit model from a float32 one, with ONNX Runtime's quantiser (pip install 'edgerun\\[quantize]').

    Images are prepared as the model's metadata say. Inputs and outputs stay float32; labels, preprocessing and exits stay
    in the file, the calibration of early exits does not. JSON schema: "edgerun.quantize/1".

    Examples:

      edgerun quantize model.onnx -o model_int8.onnx --calibration photos/

      edgerun quantize model.onnx -o model_int8.onnx --calibration train.npz --data test.npz --method percentile
    """
    report = quantize(model, out, calibration, data, Settings(format, activations, method, not per_tensor),
                      calibration_part=calibration_part, part=part, limit=limit, threads=threads, executor=executor,
                      show_progress=not as_json)
    if as_json:
        common.print_json(report)
    else:
        show(report)
