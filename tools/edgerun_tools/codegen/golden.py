"""The self-test's vector: inputs that C can hold exactly, and what the executor made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.planner.plan import DTYPES, Plan

Array = np.ndarray[Any, Any]
EPS = float(np.finfo(np.float32).eps)
GRID = 64
"""Float inputs are multiples of its inverse, which need few digits."""


def feeds(plan: Plan, seed: int = 1) -> list[Array]:
    """One input each, of the plan's dtype and shape: bytes from all of their range, floats from [-2, 2]."""
    rng = np.random.default_rng(seed)
    found = []
    for port in plan.inputs:
        slot = plan.slots[port.slot]
        dtype = DTYPES[slot.dtype]
        if dtype.kind == "f":
            values = rng.integers(-2 * GRID, 2 * GRID + 1, slot.shape) / GRID
        elif dtype.kind == "b":
            values = rng.integers(0, 2, slot.shape)
        else:
            low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize == 1 else (0, 1)
            values = rng.integers(low, high, slot.shape, endpoint=True)
        found.append(values.astype(dtype))
    return found


def tolerance(plan: Plan, answers: Sequence[Array]) -> list[float]:
    """What float results may differ by, absolutely; 0 for others. Sums of n products err by about sqrt(n) eps of their size, each
    layer adds its own: eight times that of the longest sum for every layer, of the largest value of the result."""
    terms = max((max(s.macs // max(plan.slots[s.outputs[0]].elements, 1), 1) for s in plan.steps if s.outputs), default=1)
    layers = max(sum(1 for s in plan.steps if s.macs), 1)
    return [8 * EPS * float(terms) ** 0.5 * layers * max(float(np.abs(a).max(initial=0.0)), EPS) if a.dtype.kind == "f" else 0.0
            for a in answers]
