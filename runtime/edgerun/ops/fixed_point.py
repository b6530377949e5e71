"""Real factors as the integers that int8 kernels multiply with (edgerun_kernels.jit.fixed_point)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Unsupported

MOST_LEFT = 30


def fixed_point(factor: Any) -> np.ndarray:
    """int32 [2, n]: m and left shift of n real factors, M = m · 2^(left - 31), 2^29 <= m < 2^30 where M >= 1/4.

    Raises Unsupported for factors that are negative, not finite or 2^29 and more.
    """
    real = np.atleast_1d(np.asarray(factor, np.float64))
    if not np.all(np.isfinite(real) & (real >= 0)):
        raise Unsupported("a quantisation scale is negative or not finite")
    left = np.zeros(real.shape, np.int64)
    large = real >= 0.5
    left[large] = np.floor(np.log2(real[large])).astype(np.int64) + 2
    m = np.rint(np.ldexp(real, 31 - left)).astype(np.int64)
    over = m >= 1 << 30  # rounding up, or log2 was off by one
    m, left = np.where(over, np.rint(np.ldexp(real, 30 - left)).astype(np.int64), m), left + over
    if np.any(left > MOST_LEFT):
        raise Unsupported("the output's quantisation scale is 2^29 times smaller than the product of the inputs' scales")
    return np.stack([m, left]).astype(np.int32)
