"""Elementwise y = f(a, b) with NumPy broadcasting: add sub mul div min max.

Integers wrap; integer division truncates toward zero, and by zero gives 0. min and max propagate NaN. The f32 kernels
take a fused activation. When the shapes are equal the output may be the buffer of an input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.activation import finish
from edgerun_kernels.types import NUMERIC, Array, Attrs, Inputs, Kernel, Outputs, integer, operand


def truncating_divide(a: Array, b: Array) -> Array:
    """a / b of integers toward zero; 0 where b is 0."""
    a, b = np.broadcast_arrays(a, b)
    divisor = np.where(b == 0, b.dtype.type(1), b)
    quotient = a // divisor
    if a.dtype.kind == "i":
        # Floor and truncation differ where there is a remainder and the signs differ.
        below = (quotient * divisor != a) & ((a < 0) != (divisor < 0))
        quotient = quotient + below.astype(a.dtype)
    return np.where(b == 0, b.dtype.type(0), quotient)


def _divide(a: Array, b: Array) -> Array:
    return a / b if a.dtype.kind == "f" else truncating_divide(a, b)


def _binary(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        y = function(operand(inputs, 0), operand(inputs, 1))
    if integer(attrs, "activation"):
        finish(y, attrs, outputs[0], sink)
    else:
        outputs[0][...] = y


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "min": np.minimum, "max": np.maximum,
}

KERNELS: dict[str, Kernel] = {f"{name}_{t}": partial(_binary, f) for name, f in _FUNCTIONS.items() for t in NUMERIC}
