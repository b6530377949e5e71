"""The plan: frozen data that says what to compute, where it lies, what is verified and where a run may stop.

No Python object with behaviour, callback or file handle is in a plan; every executor reads the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import ml_dtypes
import numpy as np

ALIGNMENT = 64
"""Bytes; every arena slot starts at a multiple of it."""

DTYPES: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i8": np.dtype(np.int8), "u8": np.dtype(np.uint8), "i16": np.dtype(np.int16), "u16": np.dtype(np.uint16),
    "i32": np.dtype(np.int32), "u32": np.dtype(np.uint32), "i64": np.dtype(np.int64), "u64": np.dtype(np.uint64),
    "b8": np.dtype(np.bool_),
}
"""Plan dtype name → NumPy dtype."""

Place = Literal["input", "const", "arena"]
Ints = tuple[int, ...]
Floats = tuple[float, ...]
ABSENT = -1
"""Operand index that marks an optional operand that is not there."""

CONTROL = frozenset({"branch", "jump", "exit"})
"""Step kernels that the executors themselves perform (see Step)."""


@dataclass(frozen=True)
class Slot:
    """One tensor of the plan: static shape, row-major, contiguous; spatial tensors are channels-last.

    place "input": `offset` is the index into Plan.inputs (the caller's buffer is read directly);
    place "const": `offset` is the index into Plan.constants;
    place "arena": `offset` is a byte offset into the arena, a multiple of ALIGNMENT.
    Two slots may share bytes: views (Reshape, Squeeze …) have the offset of what they view.
    """

    name: str
    dtype: str
    shape: Ints
    place: Place
    offset: int

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.elements * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Check:
    """What is verified after (or while) a step runs. kind "maed": the activation's identity and finiteness; "maed_paper": the
    identity as MAED published it."""

    kind: str
    bound: float = 0.0


@dataclass(frozen=True)
class Step:
    """One kernel call. Control steps: "branch" (input: bool scalar; attrs target=(k,): go to step k when false),
    "jump" (attrs target=(k,)), "exit" (attrs index=(i,): decide whether to stop at Plan.exits[i])."""

    kernel: str
    inputs: Ints
    outputs: Ints
    attrs: Mapping[str, Ints | Floats] = field(default_factory=dict)
    node: str = ""
    op: str = ""
    checks: tuple[Check, ...] = ()
    segment: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Port:
    """A model input or output. `onnx_shape` keeps symbolic dimensions as strings."""

    name: str
    slot: int
    onnx_shape: tuple[int | str | None, ...] = ()


@dataclass(frozen=True)
class ExitPoint:
    """Where a run may stop. `slot` holds [1, classes] scores, `logits` tells whether a softmax is still to be applied;
    `macs` is the work up to and including this exit; `step` the index of its "exit" step (last exit: len(steps))."""

    name: str
    slot: int
    logits: bool
    macs: int
    step: int


@dataclass(frozen=True)
class Difficulty:
    """How the input's difficulty is estimated (DART Eq. 1-8, batch-independent scaling; see exits/difficulty.py).

    `slot` [4] f32 receives (alpha, edge, variance, laplacian) from a "difficulty_f32" step at the head of the plan.
    """

    slot: int
    weights: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    tau_edge: float


@dataclass(frozen=True)
class Policy:
    """The tables by which an executor decides at an exit. Score s_i is `confidence` = max softmax, or for kind
    "entropy" s_i = 1 - H/log K. With difficulty alpha and predicted class k the run stops at exit i (not the last) when

        none       never
        confidence, entropy    s_i > thresholds[i]      (entropy: the score with mix = 1)
        patience   the same class was predicted at the last `patience` + 1 exits
        deadline   elapsed + segment_ns[i+1] > budget_ns   (segment_ns: measured cost of the segment up to exit i+1)
        dart       s_i > clip(coeff[i][k] * (thresholds[i] if table is empty else table[i][bin(alpha)]) + beta * alpha, 0, 1)

    (DART Eq. 19; a threshold > 1 before clipping by calibration means "never leave here" and is stored as 2.0, which is not clipped.)

    The score: p = softmax(z / temperature[i]) with z the exit's logits (log of the scores where ExitPoint.logits is False; an
    empty `temperature` is 1 everywhere), s_i = (1 - mix) * max p + mix * (1 - H(p) / log K).
    """

    kind: Literal["none", "confidence", "entropy", "patience", "deadline", "dart"] = "none"
    thresholds: Floats = ()
    beta: float = 0.0
    bin_edges: Floats = ()
    table: tuple[Floats, ...] = ()
    coeff: tuple[Floats, ...] = ()
    patience: int = 1
    budget_ns: int = 0
    segment_ns: Floats = ()
    mix: float = 0.0
    temperature: Floats = ()


@dataclass(frozen=True)
class Plan:
    """A model, ready to execute. `fallbacks` lists (step index, node, operator, reason) run by onnx.reference."""

    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    constants: tuple[np.ndarray, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena_bytes: int
    exits: tuple[ExitPoint, ...] = ()
    policy: Policy = Policy()
    difficulty: Difficulty | None = None
    fallbacks: tuple[tuple[int, str, str, str], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a full run."""
        return sum(s.macs for s in self.steps)
