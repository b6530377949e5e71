"""`edgerun ranges`: see in which range every intermediate float result lies, and write that into the model file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session, exits
from edgerun.errors import DataError
from edgerun.planner import ranges
from edgerun_tools import common, exit_runs, metadata, quantize_data
from edgerun_tools.common import answers
from edgerun_tools.faults import inputs
from edgerun_tools.hardening.calibrate import calibrate

SCHEMA = "edgerun.ranges/1"


@dataclass(frozen=True)
class Report:
    """seen: tensor → least and greatest value over all inputs, in the order of the nodes."""

    seen: Mapping[str, tuple[float, float]]
    inputs: int
    source: str


def observe(model: str, data: str, *, part: str = "all", limit: int = 500, show_progress: bool = False) -> Report:
    """Runs the model on `limit` inputs and keeps the least and the greatest of every float32 tensor that a node computes.

    DataError names a tensor that is not finite; ModelError.
    """
    bare = onnx.load_model_from_string(metadata.without(model, ranges.KEY, exits.KEY))
    with Session(bare.SerializeToString(), checks="off") as session, exit_runs.bars(show_progress) as progress:
        known = inputs.known(session, model, data)
        if known is None:
            rows = quantize_data.load(session, data, part, limit)
            chosen, feeds_of, source = np.arange(len(rows)), rows.__getitem__, rows.source
        else:
            chosen, feeds_of, source = np.unique(np.linspace(0, known.count - 1, limit).astype(int)), known.feeds, known.what

        def counted() -> Iterator[Any]:
            for done, index in enumerate(chosen):
                yield feeds_of(int(index))
                progress("ranges", done + 1, len(chosen))

        return Report(calibrate(bare, counted(), every=True, checks="off"), len(chosen), source)


def to_dict(report: Report) -> dict[str, Any]:
    """The JSON form, schema "edgerun.ranges/1"."""
    return {"schema": SCHEMA, "inputs": report.inputs, "data": report.source, "ranges": {k: list(v) for k, v in report.seen.items()}}


def command(
    model: common.Model,
    data: Annotated[str, typer.Option("--data", "-d", metavar="SET", show_default=False, help=(
        "Inputs as the model will meet them: a folder of images, .npy and .npz; an .npz; a set of the data folder. No labels needed."))],
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", show_default="in place", help=(
        "Write the model with its ranges here."))] = None,
    part: Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
        "A fixed split of the MNIST or CIFAR-10 sets this project uses."))] = "all",
    limit: Annotated[int, typer.Option("--inputs", metavar="N", min=1, help="How many, spread evenly over the set.")] = 500,
    as_json: common.AsJson = False,
) -> None:
    """See in which range every intermediate result lies, and write that into the model file.

    With `--on-fault restrict` a fault that stays, though the step and the run were done again, has its values cut off at these
    ranges (docs/checks.md). Runs without such a fault are not touched.

    Example:

      edgerun ranges model.onnx --data photos/ -o ranged.onnx

      edgerun ranged.onnx --input photo.jpg --checks full --on-fault restrict
    """
    report = observe(model, data, part=part, limit=limit, show_progress=not as_json)
    if not report.seen:
        raise DataError(f"{model}: expected float32 results to see the ranges of; found none: int8 results cannot leave theirs")
    metadata.embed(model, out or model, ranges.KEY, ranges.dumps(report.seen))
    if as_json:
        return common.print_json(to_dict(report))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=f"ranges, {report.inputs} inputs of {escape(report.source)}",
                  title_justify="left")
    for name, justify in (("tensor", "left"), ("least", "right"), ("greatest", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for name, (low, high) in report.seen.items():
        table.add_row(escape(name), f"{low:.4g}", f"{high:.4g}")
    answers.print(table)
    answers.print(f"written into {escape(out or model)} (metadata {ranges.KEY})")
