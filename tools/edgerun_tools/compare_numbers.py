"""How far two tensors are apart, over several runs, and what distance is accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

TOLERANCE = 1e-4
"""Accepted difference of floating-point tensors, relative to their scale."""
STEPS = 1
"""Accepted difference of 8-bit tensors, in steps (least significant bits)."""
LEAST_SCALE = 0.01
"""Scale of tensors with smaller numbers: sigmoid and softmax are exact to about 1e-7, however small their results."""
EIGHT_BITS = 127
"""Steps from zero to the largest magnitude of a signed 8-bit tensor."""
ROUNDING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})
"""Operators that round to 8 bits: a difference in the last place of their operand can become one step."""


@dataclass
class Difference:
    """Distance of one tensor on two sides. `other` says what they have where shape or type differ, which is infinitely
    far.

    max_abs: largest |ours - theirs|, infinite where only one side is finite (NaN equals NaN); for integers, steps.
    scale: largest finite magnitude on either side, at least LEAST_SCALE. differing: share of elements that are not
    equal, mean of the runs.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    max_abs: float = 0.0
    scale: float = LEAST_SCALE
    differing: float = 0.0
    runs: int = 0
    other: str = ""

    @classmethod
    def of(cls, ours: np.ndarray, theirs: np.ndarray) -> Difference:
        """The distance in one run."""
        found = cls(ours.dtype, ours.shape, runs=1)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            found.other = f"{theirs.dtype}{list(theirs.shape)}"
            found.max_abs, found.differing = math.inf, 1.0
        elif ours.dtype.kind in "OUS":  # text
            found.differing = float(np.mean(ours != theirs)) if ours.size else 0.0
            found.max_abs = math.inf if found.differing else 0.0
        elif ours.size:
            a, b = ours.astype(np.float64), theirs.astype(np.float64)
            equal = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(invalid="ignore", over="ignore"):
                gap = np.where(equal, 0.0, np.abs(a - b))
            found.max_abs = float(np.where(np.isnan(gap), np.inf, gap).max())
            magnitudes = (np.abs(x[np.isfinite(x)]).max(initial=LEAST_SCALE) for x in (a, b))
            found.scale = float(max(magnitudes))
            found.differing = 1.0 - float(equal.mean())
        return found

    def join(self, more: Difference) -> None:
        """Take further runs in."""
        self.max_abs, self.scale = max(self.max_abs, more.max_abs), max(self.scale, more.scale)
        self.differing = (self.differing * self.runs + more.differing * more.runs) / (self.runs + more.runs)
        self.runs += more.runs
        self.other = self.other or more.other

    @property
    def max_rel(self) -> float:
        """max_abs in parts of the scale."""
        return self.max_abs / self.scale

    @property
    def integral(self) -> bool:
        """Whether the distance counts steps."""
        return self.dtype.kind in "iub"


@dataclass(frozen=True)
class Bounds:
    """What is accepted. Floating point: max_rel ≤ `tolerance`. 8-bit integers: max_abs ≤ `steps`; other integers and
    booleans: equal. Floating-point tensors computed from rounded ones (`grains`, of `grains_of`) may be `steps` grains
    apart: the grain of the quantisation beside them, else that of 8 bits over their scale.
    """

    tolerance: float = TOLERANCE
    steps: int = STEPS
    grains: Mapping[str, float] = field(default_factory=dict)

    def bound(self, tensor: str, d: Difference) -> float:
        """The largest accepted max_rel (floating point) or max_abs (integers)."""
        if d.integral:
            return float(self.steps) if d.dtype.itemsize == 1 and d.dtype.kind != "b" else 0.0
        if tensor not in self.grains:
            return self.tolerance
        grain = max(self.grains[tensor] / d.scale, 1 / EIGHT_BITS)
        return max(self.tolerance, self.steps * grain * 1.001)  # the grains' own rounding

    def steps_of(self, tensor: str, d: Difference) -> float | None:
        """The difference in steps: of integers, and of floating-point tensors whose grain is known. None for others."""
        if d.integral:
            return d.max_abs
        grain = self.grains.get(tensor, 0.0)
        return d.max_abs / grain if grain > 0 else None

    def within(self, tensor: str, d: Difference) -> bool:
        """Whether the difference is accepted."""
        return not d.other and (d.max_abs if d.integral else d.max_rel) <= self.bound(tensor, d)


def grains_of(graph: onnx.GraphProto) -> dict[str, float]:
    """Tensors computed, directly or through others, from one that was rounded to 8 bits while the model runs → what one
    step is worth: the (largest) scale of the DequantizeLinear that makes them or a QuantizeLinear that reads them, 0
    where there is none."""
    constants = {i.name: i for i in graph.initializer}

    def scale(node: onnx.NodeProto) -> float:
        known = constants.get(node.input[1])
        return 0.0 if known is None else float(np.abs(numpy_helper.to_array(known)).max(initial=0))

    found: dict[str, float] = {}
    for node in graph.node:
        if node.op_type in ROUNDING or any(name in found for name in node.input):
            found.update((name, scale(node) if node.op_type == "DequantizeLinear" else 0.0) for name in node.output)
        if node.op_type == "QuantizeLinear" and node.input[0] in found:
            found[node.input[0]] = max(found[node.input[0]], scale(node))
    return found
