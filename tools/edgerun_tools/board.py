"""Run generated C on emulated boards, and see what it answers, costs and does when it breaks.

Examples:

  edgerun board list

  edgerun board run firmware/ --board mps2-an386 --input x.npy
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from edgerun.errors import DataError, OptionError
from edgerun_tools import common, exit_runs
from edgerun_tools.boards import BOARDS, Board, Firmware, Results, board_of, read_firmware, run
from edgerun_tools.boards.emulate import missing
from edgerun_tools.boards.inputs import random_samples, samples_of
from edgerun_tools.boards.runner import TIMEOUT
from edgerun_tools.common import answers

SCHEMA = "edgerun.board/1"
ROWS = 20
"""Samples that the table shows; --json has all."""
OUT_OF_TIME = 124


def gather(firmware: Firmware, files: Sequence[str]) -> list[np.ndarray]:
    """Inputs from files, in order: .npy for the one input (or NAME=FILE.npy for one of several), .npz with an array an input; several
    files are put one after the other. DataError, InputError."""
    named: dict[str, list[np.ndarray]] = {}
    for entry in files:
        name, _, path = entry.rpartition("=") if not Path(entry).exists() else ("", "", entry)
        try:
            loaded = np.load(path, allow_pickle=False)
            arrays = {k: loaded[k] for k in loaded.files} if hasattr(loaded, "files") else {name or firmware.inputs[0].name: loaded}
        except (OSError, ValueError, EOFError, IndexError) as e:
            raise DataError(f"--input {entry}: expected a .npy or .npz of numbers; found: {e}") from e
        for key, value in arrays.items():
            named.setdefault(key, []).append(value)
    parts = [samples_of(firmware, {k: v[i] for k, v in named.items()}) for i in range(max(map(len, named.values())))] \
        if len({len(v) for v in named.values()}) == 1 else []
    if not parts:
        raise DataError(f"--input: expected as many files of every input; found {', '.join(f'{k}: {len(v)}' for k, v in named.items())}")
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def as_feed(firmware: Firmware, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
    """[samples, elements] back in the shapes of the inputs."""
    return [a.reshape(len(a), *t.shape) for a, t in zip(samples, firmware.inputs, strict=True)]


def report(results: Results) -> dict[str, Any]:
    """What --json prints, schema "edgerun.board/1" (docs/boards.md)."""
    firmware, image = results.firmware, results.image
    counts = [s.count for s in results.samples]
    macs = firmware.facts.get("macs")
    mean = float(np.mean(counts)) if counts else None
    return {
        "schema": SCHEMA, "board": results.board.name, "core": results.board.core, "emulator": results.emulator,
        "compiler": image.compiler, "flags": list(image.flags), "firmware": firmware.prefix, "end": results.end, "fault": results.fault,
        "selftest": results.selftest, "unit": results.board.unit, "error": results.error, "macs": macs,
        "count": {"mean": mean, "min": min(counts, default=None), "max": max(counts, default=None),
                  "per_mac": mean / macs if mean is not None and macs else None},
        "bytes": {"firmware": vars(image.firmware), "image": vars(image.whole), "arena": firmware.facts.get("arena_bytes"),
                  "stack": max((s.stack for s in results.samples), default=None), "stack_limit": results.stack_limit},
        "samples": [{"status": s.status, "count": s.count, "stack": s.stack, "report": s.report,
                     "outputs": {k: {"dtype": str(v.dtype), "shape": list(v.shape), "data": _numbers(v)} for k, v in s.outputs.items()}}
                    for s in results.samples]}


def _numbers(array: np.ndarray) -> list[Any]:
    """Elements in order; what JSON has no number for as text."""
    return [v if not isinstance(v, float) or np.isfinite(v) else str(v) for v in array.ravel().tolist()]


def exit_code(results: Results) -> int:
    """0; 5 where the function returned a negative number (a fault not cured) or the self-test failed; 124 out of time; else 1."""
    if results.end == "timeout":
        return OUT_OF_TIME
    if not results.ok:
        return 1
    return common.FAULT_FOUND if results.selftest or any(s.status < 0 for s in results.samples) else 0


# -- commands ---------------------------------------------------------------------------------------------------------


def show(found: dict[str, Any], results: Results, checks: bool) -> None:
    """The readable answer: a row a sample, sizes, and how it ended."""
    unit = results.board.unit
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = results.firmware.report_fields if checks else ()
    for name in ("sample", "returned", unit, "stack, bytes", *columns, "first output"):
        table.add_column(name, justify="left" if name == "first output" else "right")
    for i, s in enumerate(results.samples[:ROWS]):
        first = np.array2string(next(iter(s.outputs.values())).ravel(), precision=5, threshold=6, edgeitems=4, max_line_width=200)
        table.add_row(str(i), str(s.status), f"{s.count:,.0f}", f"{s.stack:,}", *(str(s.report[c]) for c in columns), escape(first))
    answers.print(table)
    if len(results.samples) > ROWS:
        answers.print(f"… {len(results.samples) - ROWS} more (--json, --save-outputs)")
    size, count, per_mac = found["bytes"], found["count"], found["count"]["per_mac"]
    rows = {"board": f"{results.board.name}, {results.board.core}; {results.emulator}; {results.image.compiler}",
            unit: "" if count["mean"] is None else f"mean {count['mean']:,.0f}, {count['min']:,.0f} to {count['max']:,.0f}, each ± "
            f"{results.error:.0f}" + (f"; {per_mac:.2f} a multiply-accumulate" if per_mac else ""),
            "flash": f"{size['firmware']['flash']:,} bytes of the firmware's own objects, {size['image']['flash']:,} with the harness",
            "RAM": f"{size['firmware']['ram']:,} bytes of the firmware's own objects, {size['image']['ram']:,} with the harness",
            "stack": "" if size["stack"] is None else f"{size['stack']:,} bytes at most, of {size['stack_limit']:,}",
            "self-test": "" if results.selftest is None else "passed" if results.selftest == 0 else f"FAILED: {results.selftest}"}
    for name, text in rows.items():
        if text:
            answers.print(f"[bold]{name:<13}[/bold] {escape(text)}", soft_wrap=True)
    if not results.ok:
        fault = results.fault or {}
        words = ", ".join(str(fault[k]) for k in ("exception", "why") if fault.get(k))
        where = fault.get("registers", {}).get("pc")
        answers.print(f"[bold red]ended by {results.end}[/bold red] in sample {len(results.samples)}: {escape(words)}"
                      + (f", pc {where}" if where else ""), soft_wrap=True)


def run_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with C and firmware.json.", show_default=False)],
    board: Annotated[str, typer.Option("--board", "-b", metavar="NAME", show_default=False, help="Which board (edgerun board list).")],
    input_: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="[NAME=]FILE", help=(
        "A .npy of one or several samples, or a .npz with an array an input (repeatable)."))] = None,
    random: Annotated[int, typer.Option("--random", min=0, metavar="N", help="Without --input: so many samples of random numbers.")] = 0,
    checks_report: Annotated[bool, typer.Option("--checks-report", help="Show what the checks report of every sample.")] = False,
    save_outputs: Annotated[Path | None, typer.Option("--save-outputs", metavar="FILE.npz", help="Keep the outputs, [samples, …].")] = None,
    opt: Annotated[str, typer.Option("--opt", metavar="0|1|2|3|s|g", help="The compiler's -O for the firmware.")] = "3",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="For all samples, of this machine.")] = TIMEOUT,
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Instructions or cycles of a call; 0: any number.")] = 0,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Keep sources, image and files of the run here.")] = None,
    seed: common.Seed = 0,
    as_json: common.AsJson = False,
) -> None:
    """Build a firmware folder for a board, run it on every input, and tell outputs, counts, stack, sizes and faults.

    Returns 5 where the firmware reports a fault that it did not cure, or its self-test fails. JSON schema: "edgerun.board/1".

    Examples:

      edgerun board run firmware/ --board mps2-an386 --input x.npy

      edgerun board run firmware/ --board mps3-an547 --random 3 --checks-report

      edgerun board run firmware/ --board atmega328p --input x.npy --json
    """
    firmware, target = read_firmware(folder), board_of(board)
    if bool(input_) == bool(random):
        raise OptionError("--input, --random: expected one of them; found " + ("both" if input_ else "neither"))
    samples = gather(firmware, input_) if input_ else random_samples(firmware, random, seed)
    with exit_runs.bars(not as_json) as tick:
        results = run(firmware, target, as_feed(firmware, samples), opt=opt, timeout=timeout, limit=limit, keep=keep, tick=tick)
    if save_outputs is not None:
        _save(save_outputs, results)
    found = report(results)
    if as_json:
        common.print_json(found)
    else:
        show(found, results, checks_report)
    raise typer.Exit(exit_code(results))


def _save(path: Path, results: Results) -> None:
    columns = {t.name: np.stack([s.outputs[t.name] for s in results.samples]) for t in results.firmware.outputs} if results.samples else {}
    try:
        with path.open("wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]
    except OSError as e:
        raise OptionError(f"--save-outputs {path}: expected a file that can be written; found: {e}") from e


def list_command(as_json: common.AsJson = False) -> None:
    """List the boards: core, compiler, emulator, memory, and whether what they need is installed.

    Examples:

      edgerun board list

      edgerun board list --json
    """
    rows = [_facts(b) for b in BOARDS.values()]
    if as_json:
        common.print_json({"schema": "edgerun.boards/1", "boards": rows})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("board", "core", "what", "flash", "RAM", "counts", "apt-get install"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["name"], row["core"], row["what"], _kib(row["flash"]), _kib(row["ram"]), row["unit"], " ".join(row["missing"]))
    answers.print(table)


def _facts(board: Board) -> dict[str, Any]:
    return {"name": board.name, "core": board.core, "what": board.what, "compiler": board.compiler, "flags": list(board.flags),
            "flash": board.flash[1], "ram": board.ram[1], "unit": board.unit, "missing": missing(board)}


def _kib(size: int) -> str:
    return f"{size / 1024:,.0f} KiB" if size else ""


group = {"run": run_command, "list": list_command}
