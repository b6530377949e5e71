"""One row of the table of `python -m edgerun_tools.boards.sweep`: a model as generated C on one board, against the engine."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgerun import Session
from edgerun.errors import DataError, EdgeRunError, EdgeRunWarning
from edgerun.planner import int8
from edgerun_tools.boards.errors import ToolMissing
from edgerun_tools.boards.results import Results
from edgerun_tools.boards.runner import run
from edgerun_tools.boards.table import Board
from edgerun_tools.codegen import generate, golden
from edgerun_tools.models_inputs import inputs_of

Outputs = list[np.ndarray]


@dataclass
class Row:
    """What was found. kind: int8 where every layer is, so that bits must be equal. inputs: which set; equal: inputs with the engine's bits;
    worst: largest difference of an output, relative to its largest value. Sizes in bytes. instructions: mean of one inference;
    spread: least and most of them. reasons: why the row fails; skipped: why it was not tried."""

    model: str
    board: str
    core: str
    kind: str = "?"
    inputs: str = ""
    count: int = 0
    equal: int = 0
    worst: float = 0.0
    macs: int = 0
    flash: int = 0
    arena: int = 0
    ram: int = 0
    stack: int = 0
    instructions: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    compiler: str = ""
    emulator: str = ""
    skipped: str = ""
    reasons: list[str] = field(default_factory=list)

    @property
    def per_mac(self) -> float:
        """Instructions a multiply-accumulate."""
        return self.instructions / max(self.macs, 1)


def measured(path: Path, board: Board, data: Path, *, count: int = 20, opt: str = "3", timeout: float = 1200.0) -> Row:
    """A model on a board. Never raises EdgeRunError: what goes wrong is the row's reason, what is not there its `skipped`."""
    row = Row(path.stem, board.name, board.core)
    if not path.is_file():
        row.skipped = f"models/{path.name} is not in the data folder"
        return row
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeRunWarning)
            _fill(row, path, board, data, count, opt, timeout)
    except (DataError, ToolMissing) as e:
        row.skipped = f"{type(e).__name__}: {e}"
    except EdgeRunError as e:
        row.reasons.append(f"{type(e).__name__}: {e}")
    return row


def _fill(row: Row, path: Path, board: Board, data: Path, count: int, opt: str, timeout: float) -> None:
    with Session(path, checks="off", threads=1) as session, tempfile.TemporaryDirectory(prefix="edgerun-sweep-") as folder:
        layers = int8.layers(session.plan)
        row.kind = "int8" if layers and all(layer.int8 for layer in layers) else "fp32"
        inputs = inputs_of(path.stem, session, data)
        row.inputs = inputs.what
        feeds = [inputs.feeds(k) for k in inputs.spread(count)]
        expected = [[a for a in session.run_raw([f[i.name] for i in session.fixed_inputs]).outputs if a is not None] for f in feeds]
        firmware = generate.of_session(session, "net", path.name, board.target)
        firmware.write(folder)
        found = run(folder, board, [np.stack([f[i.name] for f in feeds]) for i in session.fixed_inputs], opt=opt, timeout=timeout)
    row.macs, row.arena = firmware.plan.macs, firmware.sources.arena_bytes
    row.flash, row.ram = found.image.firmware.flash, found.image.firmware.ram
    row.compiler, row.emulator = found.image.compiler, found.emulator
    judge(row, found, expected)


def judge(row: Row, found: Results, expected: list[Outputs]) -> None:
    """Counts and differences, and what is wrong with them."""
    if found.selftest != 0:
        row.reasons.append(f"expected a self-test that returns 0; found {found.selftest}")
    if not found.ok or len(found.samples) < len(expected):
        row.reasons.append(f"expected {len(expected)} runs; found {len(found.samples)}, then {found.end}: {found.fault}")
        return
    row.count = len(expected)
    row.stack = max(s.stack for s in found.samples)
    counts = [s.count for s in found.samples]
    row.instructions, row.spread = float(np.mean(counts)), (min(counts), max(counts))
    wrong = [s.status for s in found.samples if s.status]
    if wrong:
        row.reasons.append(f"expected runs that return 0; found {wrong[0]}")
    outside = 0
    for sample, answers in zip(found.samples, expected, strict=True):
        ours = list(sample.outputs.values())
        bounds = golden.tolerance(answers)
        off = [difference(a, b) for a, b in zip(ours, answers, strict=True)]
        row.equal += all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(ours, answers, strict=True))
        scales = [max(float(np.abs(b.astype(np.float64)).max(initial=0)), 1e-30) for b in answers]
        row.worst = max([row.worst, *(d / s for d, s in zip(off, scales, strict=True))])
        outside += any(not d <= b for d, b in zip(off, bounds, strict=True))
    if row.kind == "int8" and row.equal < row.count:
        row.reasons.append(f"expected the engine's bits on every input; found them on {row.equal} of {row.count}")
    if outside:
        row.reasons.append(f"expected outputs within the bound; found {outside} of {row.count} outside, the worst by {row.worst:.1e}")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a - b|; infinite where NaN is not in the same places."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        d = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(d, nan=np.inf, posinf=np.inf).max(initial=0.0))
