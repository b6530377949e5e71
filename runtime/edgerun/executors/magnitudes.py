"""Check "range" as the Python executor performs it: what Session::within_range of the engine does (planner/reach.py says why it holds)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgerun.executors.base import Finding
from edgerun.executors.guarding import asks, finding
from edgerun.planner.plan import ABSENT, Plan
from edgerun_kernels.checks import Sink

Array = np.ndarray[Any, Any]
ROUNDED = 1.01
"""The engine adds up in float32 lanes; the same allowance here."""
TINY = 1e-30


class Ranges:
    """Magnitudes of the products of this run, and what they say of the operands behind them. slots: the executor's arrays."""

    def __init__(self, plan: Plan, slots: list[Array | None]) -> None:
        self._plan, self._slots = plan, slots
        self._on = any(asks(s, "range") for s in plan.steps)
        self._seen = [0.0] * len(plan.steps)

    def before(self, index: int) -> list[Finding]:
        """Whether the operand of a product is larger than the products it comes from allow. NaN and infinity are for others to tell:
        bounds that are infinite or NaN say nothing."""
        step = self._plan.steps[index]
        if not (self._on and asks(step, "range")):
            return []
        by = [float(v) for v in step.attrs["range_by"]]
        most = by[-1] + sum(b * self._seen[int(k)] for b, k in zip(by, step.attrs.get("range_of", ()), strict=False))
        x = self._array(step.inputs[0])
        with np.errstate(all="ignore"):
            size, most = float(np.abs(x).sum(dtype=np.float64)), x.size * (ROUNDED * most + TINY)
        if size <= most or most != most:
            return []
        return [replace(finding(self._plan, "range", index, 0, 0.0, size), bound=most)]

    def after(self, index: int, sink: Sink | None) -> None:
        """Keep the magnitude of the product of this step: its sums', and that of its bias in each of them."""
        step = self._plan.steps[index]
        if not self._on or sink is None or not asks(step, "abft"):
            return
        alpha = float((step.attrs.get("alpha") or (1.0,))[0])
        self._seen[index] = sink.magnitude * max(abs(alpha), 1.0)
        if len(step.inputs) > 2 and step.inputs[2] != ABSENT:
            y, bias = self._plan.slots[step.outputs[0]], np.abs(self._array(step.inputs[2]))
            self._seen[index] += float(bias.mean(dtype=np.float64)) * y.elements if bias.size else 0.0

    def _array(self, slot: int) -> Array:
        array = self._slots[slot]
        assert array is not None
        return array
