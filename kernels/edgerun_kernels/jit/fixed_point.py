"""Rescaling of integers by a fixed-point factor: the definition that the engine and generated C follow bit by bit.

A real factor M >= 0 is (m, left) with M = m · 2^(left - 31), 0 <= m < 2^30, and
    rescale(t) = (2 · a · m + 2^31) >> 32,    a = clamp(t, ±(2^(31 - left) - 1)) << left
rounding halves up. One instruction on Arm (sqrdmulh, smmulr); off by at most 2^-32 · |a| from the real product before rounding.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.types import Array


def rescale(t: Array, m: Array | int, left: Array | int) -> Array:
    """t: int64 within the range of int32; m, left: integers or arrays that broadcast to t. Returns int64."""
    most = (np.int64(1) << (31 - np.asarray(left, np.int64))) - 1
    a = np.clip(t, -most, most) << np.asarray(left, np.int64)
    return (2 * a * np.asarray(m, np.int64) + (np.int64(1) << 31)) >> 32


def rescale_even(t: Array, m: Array | int, left: Array | int) -> Array:
    """The same, but exact ties go to the even integer: means of 2^k values are ties often, where scales are equal."""
    most = (np.int64(1) << (31 - np.asarray(left, np.int64))) - 1
    product = 2 * (np.clip(t, -most, most) << np.asarray(left, np.int64)) * np.asarray(m, np.int64)
    rounded = (product + (np.int64(1) << 31)) >> 32
    tie = (product & 0xFFFFFFFF) == 1 << 31
    return rounded - (tie & (rounded & 1).astype(bool))
