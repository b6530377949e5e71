"""What every executor offers: feeds in, a RawRun out. An executor reads a Plan and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgerun.errors import FaultError, InputError, OptionError, PlanError
from edgerun.planner.plan import DTYPES, Plan, Step
from edgerun_kernels.types import BadIndex

_SAID = {
    "weights": "expected the bytes that were loaded, got others in that block",
    "flow": "expected the steps in the order of the plan, got others, or one that ended early",
    "buffers": "expected the bytes that were written, got others in the block that begins there",
}


@dataclass(frozen=True)
class Finding:
    """One violated check. `check` is "finite" (a NaN or infinity appeared) or a kind of edgerun.options.CHECKS.

    `index` is the flat output index of (or the start of the row or block holding) the first violation of the step, in the
    layout of the step's output slot; of "weights" the block (of 4 KiB) of the step's parameters, packed weights and constants,
    -1 for the engine's own tables; of "flow" the number of steps done. `step`: of "buffers" the one whose output was altered (the
    one that was to read it, where it is an input), of "flow" the one before which the run left the plan. `expected`, `got` and
    `bound` are NaN where no values are kept: the engine's fused checks are gathered over a row or tile, and only the value of a
    non-finite output can still be told afterwards.

    `action` says what was done about it (`Options.on_fault`): "reported"; "corrected", computed again it holds; "restored", with
    weights made again it holds; "rerun", the run was begun again (what was wrong then, too, is a finding of its own); "degraded",
    the answer is that of an earlier exit; "aborted"; "restricted", what stayed wrong was cut off at the range seen in calibration.
    `permanent`: computed again it was violated again, so it sits in memory or in
    the machine, not in one computation."""

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
    permanent: bool = False

    @property
    def cured(self) -> bool:
        """Whether the answer does not depend on what was wrong."""
        return self.action in CURED

    @property
    def values(self) -> str:
        """What was expected and found, for people."""
        if not np.isnan(self.expected):
            return f"expected {self.expected:g}, got {self.got:g}"
        if self.check == "finite":
            return f"expected a finite value, got {self.got:g}"
        return _SAID.get(self.check, "the identity does not hold in the row or tile that begins there")


ACTIONS = ("reported", "corrected", "restored", "rerun", "degraded", "aborted", "restricted")
"""What became of a finding, in the engine's order (Action of runtime/engine/session.h)."""
CURED = ACTIONS[1:4]

SITES = ("result", "accumulator", "rescaled", "buffer", "input", "weights", "params", "constants",
         "skip", "repeat", "swap", "stop", "jump", "checksum")
"""Where a fault can strike, in the engine's order (runtime/engine/fault.h); see Fault."""
KERNEL_SITES, MEMORY_SITES, ORDER_SITES = SITES[:3], SITES[5:8], SITES[8:13]
BYTE_SITES = (*SITES[3:8], "checksum")
MODES = ("flip", "set", "clear")


@dataclass(frozen=True)
class Fault:
    """A fault to put into a running model; `Executor.sites` tells which sites a step has and how far their indices reach.

    site     result, accumulator, rescaled   a value within the kernel, before it is checked: the activation's result, the sum
                                             of products, what rescaling made of an integer sum; index: element of the output
             buffer                          the step's outputs, one after another, once they are computed and checked
             input                           the step's operands that are no constants, one after another, when it begins
             weights, params, constants      in memory: packed constants, the kernel's parameters, constant operands
             skip, repeat, swap              the step is left out, done twice, done after the one that follows it
             stop                            index: the last unit of work that is still done
             jump                            index: the step that is done next (the number of steps: none)
             checksum                        what the checks weights and buffers compare with: the CRCs of the step's weights
                                             and constants (in memory), then the sums of its results
    step     index into Plan.steps
    index    elements, bytes (buffer … constants, checksum), units or a step, as said; 0 where there is nothing to choose
    mask     the bits that are struck: 32 of an element, or as many bytes (at most 8) as the mask has, the lowest first
    mode     "flip", "set" or "clear" those bits
    runs     1: transient, it strikes once, in the next run; more: permanent for so many runs, in which it strikes whenever the
             step is computed, also when `Options.on_fault` has it computed again. Memory stays struck until `heal`

    OptionError for a site, mode, mask or runs that no step could have; `Executor.arm` raises PlanError for what this plan lacks.
    """

    site: str
    step: int
    index: int = 0
    mask: int = 1
    mode: str = "flip"
    runs: int = 1

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise OptionError(f"Fault: site: expected one of {', '.join(SITES)}; found {self.site!r}")
        if self.mode not in MODES:
            raise OptionError(f"Fault: mode: expected one of {', '.join(MODES)}; found {self.mode!r}")
        for name in ("step", "index", "mask", "runs"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise OptionError(f"Fault: {name}: expected a whole number; found {value!r}")
            object.__setattr__(self, name, int(value))
        bits = 32 if self.site in KERNEL_SITES else 64
        if not 0 < self.mask < 1 << bits:
            raise OptionError(f"Fault: mask: expected 1 to 2^{bits} - 1 at site {self.site}; found {self.mask}")
        if not 1 <= self.runs < 1 << 31:
            raise OptionError(f"Fault: runs: expected 1 to 2^31 - 1; found {self.runs}")


@dataclass(frozen=True)
class RawRun:
    """The answer of one run.

    outputs: in the order of Plan.outputs, copies the caller may keep; None where the run stopped before computing it.
    exit_index: the exit at which the run stopped (the last exit when it ran to the end), -1 for a plan without exits.
    difficulty: (alpha, edge, variance, laplacian), or None when the plan has no estimator.
    scores, classes: one entry per exit reached, in order (`edgerun.planner.decide.score`).
    values_checked: activation values verified. elapsed_ns: wall-clock time of the steps, in nanoseconds.
    reruns: how often the run was begun again because of a finding.
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
    reruns: int = 0


class Executor(Protocol):
    """Runs one plan. Not thread-safe: one executor per thread (constants may be shared between executors)."""

    def run(self, feeds: Sequence[np.ndarray]) -> RawRun:
        """Compute one answer. `feeds` follow Plan.inputs. Raises InputError (shape, dtype, index out of range)."""

    def profile(self, feeds: Sequence[np.ndarray], repeats: int = 10) -> tuple[float, ...]:
        """Mean nanoseconds of each step over `repeats` runs that never leave early; 0 for steps that did not run."""

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """XOR `mask` into the bits of output `index` of step `step`, before it is checked, in the next run only."""

    def arm(self, fault: Fault) -> None:
        """Put a fault into the runs to come. It replaces the one before; memory that was struck stays so until `heal`.

        Executors of one plan that share its constants (`EngineExecutor(share=…)`) are struck together: none of them may be
        running. Raises PlanError naming what is out of range, or a site that the step or this executor lacks."""

    def heal(self) -> None:
        """Disarm, and give memory that was struck its bytes back: the next run's bits are those of a run never armed."""

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """For each step the sites a fault can strike there, and for each site how many values `Fault.index` may take (bytes:
        the mask has to fit in front of that end)."""

    def capture(self, step: int) -> None:
        """Let the next run keep what `step` computes, for `captured`. PlanError where that is no kernel step."""

    def captured(self) -> bytes:
        """The bytes of the captured step's outputs, one after another, before any fault in its buffer; b"" if it was not run."""

    def scrub(self) -> tuple[Finding, ...]:
        """Verify now all weights, constants and tables that the check weights covers, and tell what does not hold."""

    def restore(self, step: int) -> bool:
        """Make the weights and constants that `step` uses again from the plan. Whether they hold now."""

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Replace Policy.coeff (one row per exit, one factor per class) for the following runs."""

    def close(self) -> None:
        """Give the memory back; the executor must not be used afterwards."""


def check_site(fault: Fault, sites: Sequence[Mapping[str, int]]) -> None:
    """PlanError where the fault's step, site or index is not among `sites`."""
    if not 0 <= fault.step < len(sites):
        raise PlanError(f"fault injection: step: expected 0 to {len(sites) - 1}; found {fault.step}")
    there = sites[fault.step]
    if fault.site not in there:
        raise PlanError(f"fault injection: site: expected one that step {fault.step} has here, {', '.join(there)}; found {fault.site}")
    size = -(-fault.mask.bit_length() // 8) if fault.site in BYTE_SITES else 1
    if not 0 <= fault.index <= there[fault.site] - size:
        raise PlanError(f"fault injection: index: expected 0 to {there[fault.site] - size} for {fault.site} of step {fault.step} and "
                        f"mask {fault.mask:#x}; found {fault.index}")


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


def fault_error(where: str, findings: Sequence[Finding]) -> FaultError:
    """What a run raises when nothing helped against a finding and the answer must not be used."""
    last = findings[-1] if findings else None
    stays = "permanent" if last and last.permanent else "not known to be permanent"
    told = f"{last.values}; the fault is {stays}" if last else "a check was violated"
    return FaultError(f"{where}: {told}; expected every check to hold, also when it was computed again. Do not use an answer of this "
                      "run; on_fault='retry' would report it and go on", tuple(findings))


def index_error(step: Step, bad: BadIndex) -> InputError:
    """What a run raises when an index that was fed lies outside of the tensor."""
    return InputError(
        f"operator {step.op}, node '{step.node}': expected indices in [{-bad.extent}, {bad.extent - 1}], found {bad.value}; "
        "check the indices that were fed"
    )
