"""The self-test's vector: inputs that C can hold exactly, and what the executor made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.planner.plan import DTYPES, Plan

Array = np.ndarray[Any, Any]
RELATIVE, ABSOLUTE = 2e-4, 1e-6
"""Of the largest value of an output, and for outputs near 0: what sums in another order come to (tests/conformance/test_models.py)."""
GRID = 64
"""Float inputs are multiples of its inverse, which need few digits."""


def feeds(plan: Plan, seed: int = 1) -> list[Array]:
    """One input each, of the plan's dtype and shape: bytes from all of their range, floats from [-2, 2]."""
    rng = np.random.default_rng(seed)
    found = []
    for port in plan.inputs:
        slot = plan.slots[port.slot]
        dtype = DTYPES[slot.dtype]
        low, high = (-2 * GRID, 2 * GRID) if dtype.kind == "f" else (0, 1)
        if dtype.kind in "iu" and dtype.itemsize == 1:
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        values = rng.integers(low, high, slot.shape, endpoint=True)
        found.append((values / GRID if dtype.kind == "f" else values).astype(dtype))
    return found


def tolerance(answers: Sequence[Array]) -> list[float]:
    """What float results may differ by, absolutely: the bound that executors are held to; 0 for others, which are exact."""
    return [RELATIVE * float(np.abs(a[np.isfinite(a)]).max(initial=0.0)) + ABSOLUTE if a.dtype.kind == "f" else 0.0 for a in answers]
