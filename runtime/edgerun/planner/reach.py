"""How large the operand of a product can be, from the magnitudes of the products that it comes from (check "range").

The checksum of a product adds up sum |x||w| + |bias| over all its outputs, its magnitude: none of them is larger. Activations, sums,
pools and moves in between carry such a bound on, so an operand has one that is linear in the magnitudes of earlier products. It holds
for every input, needs no calibration and costs nothing, as the checksum forms both sides anyway. What it tells is coarse, a few
powers of ten, and enough for what hurts a float network most: a flipped bit of a high exponent (Li et al., SC 2017; Ranger, Chen
et al., DSN 2021, cuts such values off at bounds that are profiled).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgerun.ops.activation import CODES

from .checks import AUDITED, INT8
from .plan import ABSENT, CONTROL, Floats, Ints, Slot, Step

MOST_TERMS = 16
"""Products that one bound refers to at most."""
_BOUNDED = {"sigmoid": 1.0, "tanh": 1.0, "hard_sigmoid": 1.0, "softmax": 1.0}
_KEEPS = frozenset({
    "relu", "hard_swish", "silu", "gelu", "max_pool2d", "average_pool2d", "global_average_pool", "global_max_pool", "copy", "transpose",
    "slice", "split", "resize_nearest", "resize_linear", "depth_to_space", "space_to_depth",
})
"""Results are not larger than the largest element of the first operand."""
_NAMES = {code: name for name, code in CODES.items()}
_DTYPES = frozenset({"f32", "x32"})


@dataclass(frozen=True)
class Reach:
    """|value| <= constant + sum of by[k] · (magnitude of the product of step k)."""

    constant: float = 0.0
    by: Mapping[int, float] = field(default_factory=dict)

    def plus(self, other: Reach | None) -> Reach | None:
        if other is None:
            return None
        terms = {k: self.by.get(k, 0.0) + other.by.get(k, 0.0) for k in sorted({*self.by, *other.by})}
        return Reach(self.constant + other.constant, terms) if len(terms) <= MOST_TERMS else None

    def times(self, factor: float) -> Reach:
        return Reach(self.constant * factor, {k: v * factor for k, v in self.by.items()})


def reaches(slots: Sequence[Slot], steps: Sequence[Step]) -> list[Reach | None]:
    """For each step the bound of its first operand; None where there is none, and everywhere in plans that branch.

    Bytes are followed, not slots, as views share them.
    """
    known: dict[int, tuple[int, Reach]] = {}  # arena offset → bytes written there, and their bound

    def of(index: int) -> Reach | None:
        slot = slots[index] if index != ABSENT else None
        if slot is None or slot.place != "arena" or slot.dtype != "f32":
            return None
        nbytes, reach = known.get(slot.offset, (0, None))
        return reach if nbytes >= slot.nbytes else None

    if any(s.kernel in CONTROL and s.kernel != "exit" for s in steps):
        return [None] * len(steps)
    found = []
    for number, step in enumerate(steps):
        operands = [of(i) for i in step.inputs]
        found.append(operands[0] if operands else None)
        result = _result(number, step, operands)
        for out in step.outputs:
            slot = slots[out]
            begin, end = slot.offset, slot.offset + slot.nbytes
            for at in [a for a, (n, _) in known.items() if a < end and begin < a + n]:
                del known[at]
            if result is not None and slot.dtype == "f32":
                known[begin] = (slot.nbytes, result)
    return found


def _result(number: int, step: Step, operands: Sequence[Reach | None]) -> Reach | None:
    name, _, dtype = step.kernel.rpartition("_")
    if dtype not in _DTYPES:
        name = step.kernel
    if step.kernel in AUDITED - INT8:
        product: Reach | None = Reach(by={number: 1.0})
        if len(step.inputs) > 3 and step.inputs[3] != ABSENT:
            product = Reach(by={number: 1.0}).plus(operands[3])
        return _activated(product, step.attrs)
    if not operands:
        return None
    if name in CODES:
        return _activation(operands[0], name, step.attrs)
    if name in _BOUNDED:
        return Reach(_BOUNDED[name])
    if name in _KEEPS:
        return operands[0]
    if name in ("add", "sub") and len(operands) == 2:
        first = operands[0].plus(operands[1]) if operands[0] is not None else None
        return _activated(first, step.attrs)
    if name == "concat":  # each element is of one operand
        whole: Reach | None = Reach()
        for each in operands:
            whole = whole.plus(each) if whole is not None else None
        return whole
    return None


def _activated(reach: Reach | None, attrs: Mapping[str, Ints | Floats]) -> Reach | None:
    code = int((attrs.get("activation") or (0,))[0])
    return _activation(reach, "gelu" if code == CODES["gelu"] + 1 else _NAMES[code], attrs) if code else reach


def _activation(reach: Reach | None, name: str, attrs: Mapping[str, Ints | Floats]) -> Reach | None:
    low, high = (float((attrs.get(key) or (0.0,))[0]) for key in ("act_alpha", "act_beta"))
    if name in _BOUNDED:
        return Reach(_BOUNDED[name])
    if name == "clip":  # to [low, high], either of which may be infinite
        if math.isfinite(low) and math.isfinite(high):
            return Reach(max(abs(low), abs(high)))
        return reach.plus(Reach(sum(abs(v) for v in (low, high) if math.isfinite(v)))) if reach is not None else None
    if name == "leaky_relu":
        return reach.times(max(1.0, abs(low))) if reach is not None else None
    if name == "elu":  # at least -alpha
        return reach.plus(Reach(abs(low))) if reach is not None else None
    return reach if name in _KEEPS else None
