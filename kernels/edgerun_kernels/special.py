"""The error function and its complement in float64; kernels compute with the one, checks with the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgerun_kernels.jit._numba import HAVE_NUMBA, njit

Array = np.ndarray[Any, Any]


@njit
def _erf(x: Array, y: Array) -> None:
    for k in range(x.size):
        y[k] = math.erf(x[k])


@njit
def _erfc(x: Array, y: Array) -> None:
    for k in range(x.size):
        y[k] = math.erfc(x[k])


_plain_erf, _plain_erfc = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)


def _each(loop: Any, plain: Any, x: Array) -> Array:
    if not HAVE_NUMBA:
        return np.asarray(plain(x), dtype=np.float64)
    y = np.empty(x.size, np.float64)
    loop(np.ascontiguousarray(x).reshape(-1), y)
    return y.reshape(x.shape)


def erf64(x: Array) -> Array:
    """erf of a float64 array, as a new float64 array."""
    return _each(_erf, _plain_erf, x)


def erfc64(x: Array) -> Array:
    """1 - erf of a float64 array, as a new float64 array, accurate where erf is 1."""
    return _each(_erfc, _plain_erfc, x)
