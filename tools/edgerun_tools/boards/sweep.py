"""MLPerf Tiny on emulated boards, one table: `python -m edgerun_tools.boards.sweep`.

Every model of the benchmark, in float32 and int8, is generated as C for the core of each board, compiled, run there on real inputs and
compared with the engine: int8 outputs bit by bit, float32 within 2e-4 of the largest value of the output (and 1e-6).
A row that fails says why, and the exit code is 1; a model or its inputs that are not in the data folder are skipped, with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import edgerun
from edgerun_tools import common, data
from edgerun_tools.boards.build import OPTIMISATIONS
from edgerun_tools.boards.sweep_row import Row, measured
from edgerun_tools.boards.table import BOARDS, board_of

SCHEMA = "edgerun.sweep/1"
FAILED = 1
"""Exit code when a row fails."""
MODELS = ("resnet8_cifar10", "dscnn_kws", "vww96", "ad01", "strww")
"""Of MLPerf Tiny: image classification, keyword spotting, visual wake words, anomaly detection, streaming wake word."""
TYPES = ("fp32", "int8qdq")
VARIANTS = ("qdq_s8s8_perchannel", "qoperator_u8s8_pertensor")
"""The same networks quantised in other ways; not there for all."""
DEFAULT = ("mps2-an386", "mps2-an500", "mps3-an547")
"""Cortex-M4, M7 and M55."""
COLUMNS = ("model", "board", "core", "inputs", "equal", "worst", "flash", "arena", "RAM", "stack", "instructions", "a MAC")
HEAD = """# MLPerf Tiny on emulated boards

Measured with `python -m edgerun_tools.boards.sweep{arguments}`: edgerun {edgerun}, {tools}.
{passed} of {count} rows agree with the engine.

- *inputs*: how many, and from which set (`edgerun_tools.models_inputs`; sound: spectra of read speech, Debian's pocketsphinx-testdata or
  EDGERUN_SOUNDS, without it random numbers); *equal*: on how many every output has the engine's bits, which is the bound for int8;
  *worst*: largest difference of an output, relative to its largest value (bound for float32: 2e-4).
- *flash*: code, constants and the self-test's vector, without libraries; *arena* and *RAM*: static; *stack*: what was written below the
  caller, at most; all in bytes.
- *instructions*: of one inference, the mean over the inputs, checks off; *a MAC*: for each multiply-accumulate of the direct definition.
  An instruction is not a cycle ([boards](boards.md)).

"""


def cells(row: Row) -> list[str]:
    """The columns of a row as text."""
    if row.reasons:
        return [row.model, row.board, row.core, row.inputs, *[""] * (len(COLUMNS) - 4)]
    sizes = [f"{n:,}" for n in (row.flash, row.arena, row.ram, row.stack)]
    return [row.model, row.board, row.core, f"{row.count} of {row.inputs}", f"{row.equal}/{row.count}", f"{row.worst:.1e}" if row.worst else
            "0", *sizes, f"{row.instructions / 1e6:.3f} M", f"{row.per_mac:.2f}"]


def table(rows: Sequence[Row]) -> Table:
    """For people; what fails is red, and says why below."""
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        out.add_column(name, justify="left" if name in ("model", "board", "core", "inputs") else "right", no_wrap=True)
    for row in rows:
        out.add_row(*map(escape, cells(row)), style="red" if row.reasons else None)
    return out


def markdown(rows: Sequence[Row], arguments: str = "") -> str:
    """A page of documentation."""
    tools = ", ".join(sorted({t for r in rows for t in (r.compiler, r.emulator) if t}))
    head = HEAD.format(arguments=arguments, edgerun=edgerun.__version__, tools=tools, passed=sum(not r.reasons for r in rows),
                       count=len(rows))
    return head + common.markdown_table((*COLUMNS, "why it fails"), [[*cells(row), "; ".join(row.reasons)] for row in rows])


def to_dict(row: Row) -> dict[str, Any]:
    """One line of --json."""
    return {"schema": SCHEMA, **asdict(row), "ok": not row.reasons}


def named(folder: Path, only: str, variants: bool) -> Iterable[Path]:
    """Files of the models meant, there or not."""
    for model in MODELS:
        for kind in (*TYPES, *(VARIANTS if variants else ())):
            path = folder / "models" / f"mlperf_{model}_{kind}.onnx"
            if fnmatch(path.stem, only) and (kind in TYPES or path.is_file()):
                yield path


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.boards.sweep", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data.data_root(), help="folder with models/ and sets/; default $EDGERUN_DATA")
    parser.add_argument("--boards", type=lambda t: tuple(t.split(",")), default=DEFAULT, help=f"comma separated, of {', '.join(BOARDS)}; "
                        f"default {','.join(DEFAULT)}")
    parser.add_argument("--only", default="*", metavar="GLOB", help="models by file name without .onnx")
    parser.add_argument("--variants", action="store_true", help="the networks' other int8 forms, too")
    parser.add_argument("--inputs", type=int, default=20, help="how many, spread over the set; default 20")
    parser.add_argument("--opt", choices=OPTIMISATIONS, default="3", help="the compiler's -O; default 3")
    parser.add_argument("--timeout", type=float, default=1200.0, help="seconds for one row; default 1200")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the table there (docs/mlperf-boards.md)")
    options = parser.parse_args(argv)
    boards = [board_of(n) for n in options.boards]
    paths = list(named(options.data, options.only, options.variants))
    if not paths:
        parser.error(f"--only: expected a glob that matches mlperf_*_fp32 or such; found {options.only!r}")
    rows: list[Row] = []
    skipped: list[Row] = []
    for path, board in track([(p, b) for p in paths for b in boards], "boards", console=common.errors, transient=True):
        row = measured(path, board, options.data, count=options.inputs, opt=options.opt, timeout=options.timeout)
        (skipped if row.skipped else rows).append(row)
        if options.json:
            common.print_json(to_dict(row))
        else:
            common.errors.print(f"{row.model} on {row.board}: {escape(row.skipped or '; '.join(row.reasons) or 'ok')}", soft_wrap=True)
    failed = [r for r in rows if r.reasons]
    if not options.json:
        console = Console(width=max(common.answers.width, 220))
        console.print(table(rows))
        for row in failed:
            console.print(f"[red]{row.model}[/red] on {row.board}: {escape('; '.join(row.reasons))}", soft_wrap=True)
        console.print(f"{len(rows) - len(failed)} of {len(rows)} rows agree with the engine, {len(skipped)} skipped")
    if options.write:
        options.write.write_text(markdown(rows, _said(options)), encoding="utf-8")
    return FAILED if failed else 0


def _said(options: argparse.Namespace) -> str:
    """The arguments that change what is measured."""
    words = [("--boards", ",".join(options.boards), ",".join(DEFAULT)), ("--only", f"'{options.only}'", "'*'"),
             ("--inputs", str(options.inputs), "20"), ("--opt", options.opt, "3")]
    return "".join(f" {k} {v}" for k, v, default in words if v != default) + (" --variants" if options.variants else "")


if __name__ == "__main__":
    sys.exit(main())
