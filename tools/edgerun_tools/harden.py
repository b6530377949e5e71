"""`edgerun harden`: the same network, with checks that every ONNX runtime computes along."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session
from edgerun.errors import ModelError, OptionError
from edgerun.exits import KEY as CALIBRATION_KEY
from edgerun.importer.read import read
from edgerun.planner.ranges import Ranges
from edgerun_tools import common, exit_runs
from edgerun_tools.common import answers
from edgerun_tools.defined import is_quantised
from edgerun_tools.hardening import CHECKS, SCHEMA, calibrate, harden_model
from edgerun_tools.hardening.harden import MOVES, without_calibration
from edgerun_tools.hardening.rounding import ARITHMETIC
from edgerun_tools.hardening.trial import trial
from edgerun_tools.quantize_data import load

DEFAULT_LIMIT = 500
"""Calibration inputs used unless the caller says how many."""
WORST = 1e-4
"""Difference of the outputs, relative to the largest, above which a float model is not written."""
DROPPED = "its thresholds and times are tied to the graph: calibrate the hardened model"


def harden(model: str, out: str, checks: str = "", *, arithmetic: str = "float32", ranges_file: str | None = None,
           data: str | None = None, limit: int = DEFAULT_LIMIT, shapes: dict[str, tuple[int, ...]] | None = None,
           threads: int | None = None, show_progress: bool = False) -> dict[str, Any]:
    """Harden a model, try it, write it, and return the report, schema "edgerun.harden/1" (docs/hardened-onnx.md).

    checks: names of `hardening.CHECKS`, separated by commas; "" for all but "range", which needs ranges: from a file, from
    calibration inputs (data), or from the model's metadata. shapes: of symbolic inputs, for the trial only. ModelError,
    DataError, InputError, OptionError; nothing is written then.
    """
    if os.path.exists(out) and os.path.exists(model) and os.path.samefile(out, model):
        raise OptionError(f"--out {out}: expected another file than the model, which would be lost; found the same")
    if not Path(out).absolute().parent.is_dir():
        raise OptionError(f"--out {out}: expected a folder that exists; found none at {Path(out).parent}")
    given = read(model).proto
    bare = without_calibration(given)
    options = {"threads": threads, "shapes": shapes or {}}
    bounds = _bounds(bare, ranges_file, data, limit, options, show_progress)
    chosen = [c.strip() for c in checks.split(",") if c.strip()] or [c for c in CHECKS if c != "range" or bounds]
    if "range" in chosen and not bounds:
        raise OptionError("--checks range: expected ranges to check; give calibration inputs (--data) or a file (--ranges)")
    result = harden_model(bare, chosen, arithmetic=arithmetic, bounds=bounds)
    tried = trial(bare, result.model, result.checks, **options)
    _refuse(tried, bare, out)
    blob = result.model.SerializeToString()
    _write(out, blob)
    dropped = any(p.key == CALIBRATION_KEY for p in given.metadata_props)
    return {"schema": SCHEMA, "model": model, "out": out, "requested": chosen, "arithmetic": arithmetic,
            "bytes": {"before": os.path.getsize(model), "after": len(blob)},
            "nodes": {"before": len(given.graph.node), "after": len(result.model.graph.node)},
            "checks": [vars(c) for c in result.checks],
            "layers": [{"layer": r.layer, "operator": r.operator, "checks": list(r.checks), "reason": r.reason}
                       for r in result.rows],
            "constants_unchecked": result.unchecked, "trial": tried,
            "exit_calibration": {"dropped": dropped, "reason": DROPPED} if dropped else None}


def _bounds(given: onnx.ModelProto, file: str | None, data: str | None, limit: int, options: dict[str, Any],
            show_progress: bool) -> Ranges | None:
    """Ranges of values from the one source that is given."""
    if file is not None and data is not None:
        raise OptionError("--ranges, --data: expected one of them; found both")
    if file is not None:
        return calibrate.read(file)
    if data is None:
        return calibrate.of_metadata(given)
    source = given.SerializeToString()
    with Session(source, **options) as session, exit_runs.bars(show_progress) as progress:
        rows = load(session, data, limit=limit)

        def counted() -> Any:
            for i in range(len(rows)):
                yield rows[i]
                progress("calibrate", i + 1, len(rows))

        return calibrate.calibrate(given, counted(), **options)


def _refuse(tried: dict[str, Any], given: onnx.ModelProto, out: str) -> None:
    """ModelError where the trial shows another network or a false alarm. Quantised layers are rounded in float32 where a check
    reads them, so that their outputs may differ by steps."""
    for runtime, found in tried.items():
        if found["flags"] or (found["worst"] > WORST and not is_quantised(given)):
            raise ModelError(f"harden: expected the outputs of the model and no fault from {runtime} on random inputs; found a "
                             f"difference of {found['worst']:.1e} and {', '.join(found['flags']) or 'no fault'}; {out} is not "
                             "written. This is a defect of edgerun, or a fault in this machine: run it again, and report it")


def _write(out: str, blob: bytes) -> None:
    temporary = Path(out).with_name(Path(out).name + ".part")
    try:
        temporary.write_bytes(blob)
        temporary.replace(out)
    except OSError as e:
        raise OptionError(f"--out {out}: expected a file that can be written; found: {e}") from e


# -- command ----------------------------------------------------------------------------------------------------------


def show(report: dict[str, Any]) -> None:
    """What the command prints: a line a layer, and what it came to."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("layer", "operator", "checks"):
        table.add_column(name, overflow="fold")
    moved = Counter(r["operator"] for r in report["layers"] if r["reason"] == MOVES)
    for row in report["layers"]:
        if row["reason"] != MOVES:
            found = ", ".join(row["checks"]) or f"[yellow]none[/yellow]: {escape(row['reason'])}"
            table.add_row(escape(row["layer"]), row["operator"], found)
    answers.print(table)
    if moved:
        counts = ", ".join(f"{op} {n}" for op, n in moved.most_common())
        answers.print(f"operators that move values and compute none, not checked: {counts}", soft_wrap=True)
    for reason, count in Counter(report["constants_unchecked"].values()).items():
        answers.print(f"{count} constants are in no check: {escape(reason)}", soft_wrap=True)
    for runtime, found in report["trial"].items():
        same = "equal bits" if found["equal"] else f"largest difference {found['worst']:.1e} of the output's size"
        answers.print(f"{runtime}, random inputs: {same}, no fault", soft_wrap=True)
    if report["exit_calibration"]:
        answers.print(f"the calibration of the early exits was dropped: {report['exit_calibration']['reason']}", soft_wrap=True)
    sizes = report["bytes"]
    answers.print(f"{len(report['checks'])} checks; {sizes['before'] / 1024:.0f} KiB before, {sizes['after'] / 1024:.0f} KiB now; written "
                  f"into {escape(report['out'])}", soft_wrap=True)


def command(
    model: common.Model,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.onnx", show_default=False, help=(
        "Write the hardened model here."))],
    checks: Annotated[str, typer.Option("--checks", metavar=",".join(CHECKS), show_default="all that can be", help=(
        "What is checked."))] = "",
    arithmetic: Annotated[str, typer.Option("--arithmetic", metavar="|".join(ARITHMETIC), help=(
        "How precisely the runtime multiplies; tf32: NVIDIA tensor cores, CUDA's default."))] = "float32",
    ranges_file: Annotated[str | None, typer.Option("--ranges", metavar="FILE.json", help=(
        "Ranges of values for the check range: {value: [lowest, highest]}."))] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="SET", help=(
        "Typical inputs, whose ranges are found and checked; as --calibration of quantize."))] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Inputs of --data used at most, spread evenly.")] = DEFAULT_LIMIT,
    shape: common.Shape = None,
    threads: common.Threads = None,
    as_json: common.AsJson = False,
) -> None:
    """Write checks into a model as standard ONNX operators, so that every runtime computes them along.

    The result has the model's outputs, and two more: edgerun_fault (one bool) and edgerun_fault_steps (one a check; their names are in
    the metadata, edgerun.harden). It is tried on random inputs before it is written. JSON schema: "edgerun.harden/1".

    Examples:

      edgerun harden model.onnx -o hardened.onnx

      edgerun harden model.onnx -o hardened.onnx --checks abft,weights --arithmetic tf32

      edgerun harden model.onnx -o hardened.onnx --data photos/ --json
    """
    report = harden(model, out, checks, arithmetic=arithmetic, ranges_file=ranges_file, data=data, limit=limit,
                    shapes=common.parse_shapes(shape), threads=threads, show_progress=not as_json)
    if as_json:
        common.print_json(report)
    else:
        show(report)
