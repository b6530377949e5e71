"""Protection as a pass over the finished plan: each kind of check is put on the steps it can verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgerun.ops.activation import CODES
from edgerun.options import kinds_of

from . import paper, ranges
from .checks import AUDITED, INT8, RESCALED, maed_of
from .plan import ABSENT, CONTROL, Check, Floats, Ints, Plan, Slot, Step
from .reach import Reach, reaches
from .select import FALLBACK, GRAPH

SCRUB, FULL_SCRUB = 0.005, 0.01
"""Share of a run's time in which weights are verified (the bound of check "weights"), and where buffers are verified, too."""
_OWN = ("abft", "nonnegative", "verify_rescale", "range_of", "range_by", "restrict", *paper.HINT)
"""Attributes that belong to this pass."""
_NONNEGATIVE_CODES = frozenset({1, 4, 6})
_KEEPS_SIGN = frozenset({"max_pool2d_f32", "average_pool2d_f32", "global_average_pool_f32", "global_max_pool_f32", "copy", "transpose"})


def protect(plan: Plan, mode: str) -> Plan:
    """The same plan with the checks of `mode` (a preset or a list of kinds, see edgerun.options) and no others.

    Raises OptionError for an unknown mode, PlanError for "maed-paper" on a plan with fused activations, DataError for damaged
    metadata `edgerun.ranges`.
    """
    kinds = kinds_of(mode)
    if paper.MODE in kinds:
        paper.check_apart(plan.steps)
    scrub = FULL_SCRUB if "buffers" in kinds else SCRUB
    bare = [replace(s, checks=(), attrs={k: v for k, v in s.attrs.items() if k not in _OWN}) for s in plan.steps]
    sure = nonnegative(plan.slots, bare)
    reach = reaches(plan.slots, bare) if "range" in kinds and "abft" in kinds else [None] * len(bare)
    seen = ranges.of(plan.metadata) if "range" in kinds else {}
    steps = [_protected(s, sure[k], reach[k], kinds, scrub) for k, s in enumerate(bare)]
    return replace(plan, steps=tuple(_restricted(s, plan.slots, seen) for s in steps))


def _restricted(step: Step, slots: Sequence[Slot], seen: ranges.Ranges) -> Step:
    """The range that the first result was seen in goes along, for the reaction "restrict"."""
    first = slots[step.outputs[0]] if step.outputs and step.outputs[0] != ABSENT else None
    if first is None or first.dtype != "f32" or first.name not in seen or step.kernel in CONTROL:
        return step
    return replace(step, attrs={**step.attrs, "restrict": seen[first.name]})


def _protected(step: Step, sure: bool, reach: Reach | None, kinds: tuple[str, ...], scrub: float) -> Step:
    checks: tuple[Check, ...] = maed_of(step.kernel, step.attrs) if "maed" in kinds else ()
    published = paper.paper_of(step.kernel) if paper.MODE in kinds else ()
    if published:
        checks = published
        step = replace(step, attrs={**step.attrs, **paper.HINT})
    if "abft" in kinds and step.kernel in AUDITED:
        checks += (Check("abft"),)
        hints: dict[str, Ints | Floats] = {"abft": (1,), "nonnegative": (1,)} if sure else {"abft": (1,)}
        if step.kernel in INT8:
            hints = {"abft": (1,)}
        if step.kernel in INT8 and "duplicate" in kinds and "y_zero" in step.attrs:  # it is not computed twice, as abft covers it
            hints["verify_rescale"] = (1,)
            checks += (Check("maed", RESCALED),)
        if reach is not None and step.kernel not in INT8:
            checks += (Check("range"),)
            hints |= {"range_of": tuple(reach.by)} if reach.by else {}
            hints["range_by"] = (*reach.by.values(), reach.constant)
        step = replace(step, attrs={**step.attrs, **hints})
    computes = step.kernel not in CONTROL
    if "weights" in kinds and computes:
        checks += (Check("weights", scrub),)
    if "flow" in kinds:
        checks += (Check("flow"),)
    if "buffers" in kinds and computes:
        checks += (Check("buffers"),)
    if "duplicate" in kinds and computes and step.kernel not in (FALLBACK, GRAPH):
        checks += (Check("duplicate"),)
    return replace(step, checks=checks)


def nonnegative(slots: Sequence[Slot], steps: Sequence[Step]) -> list[bool]:
    """For each step whether its first operand cannot be negative: then one sum serves as its size, too.

    Bytes are followed, not slots, as views share them; where a plan branches nothing is known.
    """
    sure: dict[int, int] = {}  # arena offset → bytes written there that are not negative
    known = []
    branches = any(s.kernel in ("branch", "jump") for s in steps)
    for step in steps:
        first = slots[step.inputs[0]] if step.inputs and step.inputs[0] != ABSENT else None
        operand = first is not None and first.place == "arena" and sure.get(first.offset, 0) >= first.nbytes
        known.append(operand and not branches)
        result = _never_negative(step) or (operand and step.kernel in _KEEPS_SIGN)
        for out in step.outputs:
            slot = slots[out]
            begin, end = slot.offset, slot.offset + slot.nbytes
            for at in [a for a, n in sure.items() if a < end and begin < a + n]:
                del sure[at]
            if result and slot.dtype == "f32":
                sure[begin] = slot.nbytes
    return known


def _never_negative(step: Step) -> bool:
    code = CODES.get(step.kernel.removesuffix("_f32"), 0) or int((step.attrs.get("activation") or (0,))[0])
    if code == CODES["clip"]:
        low = step.attrs.get("act_alpha") or step.attrs.get("alpha") or (-1.0,)
        return float(low[0]) >= 0
    return code in _NONNEGATIVE_CODES or step.kernel == "softmax_f32"
