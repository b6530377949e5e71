"""erf_f32: y = erf(x), the error function, in float64 rounded once. NaN in → NaN out."""

from __future__ import annotations

import math

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit._numba import HAVE_NUMBA, njit
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, operand


@njit
def _loop(x: Array, y: Array) -> None:
    for k in range(x.size):
        y[k] = math.erf(x[k])


_plain = np.frompyfunc(math.erf, 1, 1)


def erf64(x: Array) -> Array:
    """erf of a float64 array, as a new float64 array."""
    if not HAVE_NUMBA:
        return np.asarray(_plain(x), dtype=np.float64)
    y = np.empty(x.size, np.float64)
    _loop(np.ascontiguousarray(x).reshape(-1), y)
    return y.reshape(x.shape)


def erf(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → erf(x)."""
    outputs[0][...] = erf64(operand(inputs, 0).astype(np.float64))


KERNELS: dict[str, Kernel] = {"erf_f32": erf}
