"""What every executor offers: feeds in, a RawRun out. An executor reads a Plan and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgerun.errors import InputError
from edgerun.planner.plan import DTYPES, Plan, Step
from edgerun_kernels.types import BadIndex


@dataclass(frozen=True)
class Finding:
    """One violated check. `check` is "maed" (an identity does not hold) or "finite" (a NaN or infinity appeared);
    `index` is the flat output index of (or the start of the row holding) the first violation of the step, in the
    layout of the step's output slot; `action` says what was done about it ("reported"). `expected`, `got` and `bound` are
    NaN where the kernel keeps no values: the engine's fused checks are gathered over a row or tile, and only the value of
    a non-finite output can still be told afterwards."""

    step: int
    node: str
    op: str
    kernel: str
    check: str
    index: int
    expected: float
    got: float
    bound: float
    action: str = "reported"

    @property
    def values(self) -> str:
        """What was expected and found, for people."""
        if not np.isnan(self.expected):
            return f"expected {self.expected:g}, got {self.got:g}"
        if self.check == "finite":
            return f"expected a finite value, got {self.got:g}"
        return "the identity does not hold in the row or tile that begins there"


@dataclass(frozen=True)
class RawRun:
    """The answer of one run.

    outputs: in the order of Plan.outputs, copies the caller may keep; None where the run stopped before computing it.
    exit_index: the exit at which the run stopped (the last exit when it ran to the end), -1 for a plan without exits.
    difficulty: (alpha, edge, variance, laplacian), or None when the plan has no estimator.
    scores, classes: one entry per exit reached, in order (`edgerun.planner.decide.score`).
    values_checked: activation values verified. elapsed_ns: wall-clock time of the steps, in nanoseconds.
    """

    outputs: tuple[np.ndarray | None, ...]
    exit_index: int
    n_exits: int
    difficulty: tuple[float, ...] | None
    scores: tuple[float, ...]
    classes: tuple[int, ...]
    steps_run: int
    values_checked: int
    findings: tuple[Finding, ...]
    elapsed_ns: int


class Executor(Protocol):
    """Runs one plan. Not thread-safe: one executor per thread (constants may be shared between executors)."""

    def run(self, feeds: Sequence[np.ndarray]) -> RawRun:
        """Compute one answer. `feeds` follow Plan.inputs. Raises InputError (shape, dtype, index out of range)."""

    def profile(self, feeds: Sequence[np.ndarray], repeats: int = 10) -> tuple[float, ...]:
        """Mean nanoseconds of each step over `repeats` runs that never leave early; 0 for steps that did not run."""

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """XOR `mask` into the bits of output `index` of step `step`, before it is checked, in the next run only."""

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Replace Policy.coeff (one row per exit, one factor per class) for the following runs."""

    def close(self) -> None:
        """Give the memory back; the executor must not be used afterwards."""


def check_feeds(plan: Plan, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The feeds as contiguous arrays, or InputError naming the input, what was expected and what was found."""
    if len(feeds) != len(plan.inputs):
        names = ", ".join(p.name for p in plan.inputs)
        raise InputError(f"expected {len(plan.inputs)} inputs ({names}), found {len(feeds)}; feed every input once")
    result = []
    for port, feed in zip(plan.inputs, feeds, strict=True):
        slot = plan.slots[port.slot]
        array = np.asarray(feed)
        if array.dtype != DTYPES[slot.dtype]:
            raise InputError(
                f"input '{port.name}': expected dtype {DTYPES[slot.dtype]}, found {array.dtype}; convert it first"
            )
        if array.shape != slot.shape:
            raise InputError(
                f"input '{port.name}': expected shape {list(slot.shape)}, found {list(array.shape)}; "
                "reshape the feed, or plan the model for this shape"
            )
        result.append(np.asarray(array, order="C"))
    return result


def index_error(step: Step, bad: BadIndex) -> InputError:
    """What a run raises when an index that was fed lies outside of the tensor."""
    return InputError(
        f"operator {step.op}, node '{step.node}': expected indices in [{-bad.extent}, {bad.extent - 1}], found {bad.value}; "
        "check the indices that were fed"
    )
