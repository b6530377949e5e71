"""One table over every model of the data folder: `python -m edgerun_tools.models`.

Runs each model on real inputs (or such as the folder's INDEX.md describes) and compares with ONNX Runtime:

    fp32    worst difference, relative to the output's scale; bound 1e-4
    int8    share of outputs within one step of the model as defined (its quantised operators written out and computed in
            float32 by ONNX Runtime, without graph optimisations); bound 99.9 %, unless every layer that goes on from our tensors
            is within one step ("layer"). A step of a float output is the scale of the last quantised tensor in front of it.
            For information, the same share of that model with its sums in another order ("float"), and of ONNX Runtime's own
            8-bit kernels ("ort"). Engine and Python executor must have equal bits where every layer is in int8.
    both    accuracy where there are labelled images: at most 0.3 points less than ONNX Runtime's

A row that misses a bound says why, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import edgerun
import edgerun_kernels
from edgerun_tools import common, data
from edgerun_tools.models_check import Row, check

SCHEMA = "edgerun.models/1"
MISSED = 1
"""Exit code when a bound is missed."""
COLUMNS = ("model", "inputs", "worst", "≤ 1 step", "layer", "float", "ort",
           "accuracy %", "ort %", "defined %", "bits", "int8", "other", "fallback")
HEAD = """# Every model of the data folder

Measured with `python -m edgerun_tools.models{arguments}`: edgerun {edgerun} ({isa}), ONNX Runtime {ort}.
{passed} of {count} rows are within their bounds.

- *worst*: fp32: largest difference from ONNX Runtime, relative to the output's scale (bound 1e-4); int8: largest difference in steps
  from the model as defined, that is with its quantised operators written out and computed in float32.
- *≤ 1 step*: share of outputs at most one step from that; bound 99.9 %, unless no *layer* that goes on from our tensors differs by more
  than one step: then it is rounding that adds up, as it does from float32 to float32. *float*: the same share where float32 adds in
  another order. *ort*: the same share of ONNX Runtime with its own 8-bit kernels, which saturate for uint8 activations on x86-64
  without VNNI.
- *accuracy*: ours, ONNX Runtime's, and that of the model as defined; bound: 0.3 points less than ONNX Runtime's, and than the
  third two standard errors of the difference more.
- *bits*: inputs on which engine and Python executor agree to the last bit; bound: all, where no layer is in float32.
- *int8*, *other*: layers that compute on 8-bit numbers, and on others; *fallback*: steps that onnx.reference runs.

"""


def cells(row: Row) -> list[str]:
    """The columns of a row as text."""
    a = row.accuracy
    accuracies = [f"{100 * a[k] / a['images']:.2f}" if a and k in a else "" for k in ("ours", "ort", "defined")]
    worst = "" if row.worst is None else f"{row.worst:.1e}" if row.kind == "fp32" else f"{row.worst:.1f} steps"
    ours, again, theirs = (("" if s is None else f"{100 * s:.2f}") for s in (row.share, row.float_share, row.ort_share))
    layer = "" if row.layer_steps is None else f"{row.layer_steps:.1f}"
    counts = ["" if n is None else str(n) for n in (row.int8_layers, row.other_layers)]
    return [row.model, f"{row.count} of {row.inputs}" if row.inputs else "", worst, ours, layer, again, theirs, *accuracies,
            f"{row.bits[0]}/{row.bits[1]}" if row.bits else "", *counts, ", ".join(f"{n} {op}" for op, n in row.fallbacks.items())]


def table(rows: Sequence[Row]) -> Table:
    """For people; what fails is red, and says why below."""
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        out.add_column(name, justify="left" if name in ("model", "inputs", "fallback") else "right", no_wrap=name != "fallback")
    for row in rows:
        out.add_row(*map(escape, cells(row)), style="red" if row.reasons else None)
    return out


def markdown(rows: Sequence[Row], arguments: str = "") -> str:
    """The page docs/models.md."""
    import onnxruntime

    head = HEAD.format(arguments=arguments, edgerun=edgerun.__version__, isa=edgerun_kernels.isa() or "Python kernels",
                       ort=onnxruntime.__version__, passed=sum(not r.reasons for r in rows), count=len(rows))
    return head + common.markdown_table((*COLUMNS, "why it fails"), [[*cells(row), "; ".join(row.reasons)] for row in rows])


def to_dict(row: Row) -> dict[str, Any]:
    """One line of --json."""
    return {"schema": SCHEMA, **asdict(row), "ok": not row.reasons}


def _counts(text: str) -> tuple[int, ...]:
    found = tuple(int(t) for t in text.split(","))
    if min(found) < 1:
        raise ValueError(text)
    return found


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.models", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data.data_root(), help="folder with models/ and sets/; default $EDGERUN_DATA")
    parser.add_argument("--threads", type=_counts, default=(1, 2), help="comma separated; default 1,2")
    parser.add_argument("--only", default="*", metavar="GLOB", help="models by file name without .onnx")
    parser.add_argument("--inputs", type=int, default=5, help="inputs to compare at least (networks with few outputs get more)")
    parser.add_argument("--images", type=int, help="labelled images at most; default all")
    parser.add_argument("--bits", type=int, default=100, help="inputs to compare bits on; 0: leave it out")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the table there (docs/models.md)")
    options = parser.parse_args(argv)
    paths = sorted(p for p in (options.data / "models").glob("*.onnx") if fnmatch(p.stem, options.only))
    if not paths:
        parser.error(f"expected models in {options.data / 'models'} that match {options.only!r}; found none (set EDGERUN_DATA)")
    rows = []
    for path in track(paths, "models", console=common.errors, transient=True):
        rows.append(check(path, options.data, options.threads, fewest=options.inputs, bits=options.bits, images=options.images))
        if options.json:
            common.print_json(to_dict(rows[-1]))
        else:
            common.errors.print(f"{path.stem}: {escape('; '.join(rows[-1].reasons)) or 'ok'}", soft_wrap=True)
    failed = [r for r in rows if r.reasons]
    if not options.json:
        console = Console(width=max(common.answers.width, 220))
        console.print(table(rows))
        for row in failed:
            console.print(f"[red]{row.model}[/red]: {escape('; '.join(row.reasons))}", soft_wrap=True)
        console.print(f"{len(rows) - len(failed)} of {len(rows)} models are within their bounds")
    if options.write:
        words = [] if options.only == "*" else [f" --only '{options.only}'"]
        options.write.write_text(markdown(rows, "".join(words)), encoding="utf-8")
    return MISSED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
