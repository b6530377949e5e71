"""How the int8 kernels end: clamp(v + y_zero, low, high) in the output's dtype."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.types import Array, Attrs, integer


def narrow(v: Array, attrs: Attrs, y: Array) -> None:
    """Write the steps v (int64) to y (int8 or uint8). Absent attributes: 0 and the range of y's dtype."""
    info = np.iinfo(y.dtype)
    low, high = integer(attrs, "low", int(info.min)), integer(attrs, "high", int(info.max))
    y[...] = np.clip(v + integer(attrs, "y_zero"), low, high)
