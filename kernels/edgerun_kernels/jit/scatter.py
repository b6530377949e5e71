"""scatter_elements, scatter_nd: y = x, then updates are written or combined into it in their order.

Places as in gather_elements and gather_nd. reduction: 0 none (any dtype by size), 1 add 2 mul 3 min 4 max (f32 i32 i64; integers
wrap, NaN wins). An index out of range raises BadIndex (in C++ it is reported, and its update left out).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.gather_elements import along
from edgerun_kernels.jit.gather_nd import tuples
from edgerun_kernels.types import SIZES, Array, Attrs, Inputs, Kernel, Outputs, integer, operand

REDUCTIONS: tuple[Any, ...] = (None, np.add, np.multiply, np.minimum, np.maximum)


def _combine(x: Array, y: Array, places: tuple[Array, ...], updates: Array, attrs: Attrs) -> None:
    function = REDUCTIONS[integer(attrs, "reduction")]
    y[...] = x
    with np.errstate(all="ignore"):
        if function is not None:
            function.at(y, places, updates)
        else:
            y[places] = updates


def scatter_elements(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices updates → y, of the shape of x."""
    x, indices, updates = operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)
    axis = integer(attrs, "axis") % x.ndim
    _combine(x, outputs[0], along(indices, axis, x.shape[axis]), updates, attrs)


def scatter_nd(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices updates → y, of the shape of x."""
    x, indices, updates = operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)
    _combine(x, outputs[0], tuples(indices, x.shape, 0), updates, attrs)


_DTYPES = (*SIZES, "f32", "i32", "i64")

KERNELS: dict[str, Kernel] = {
    **{f"scatter_elements_{t}": scatter_elements for t in _DTYPES},
    **{f"scatter_nd_{t}": scatter_nd for t in _DTYPES},
}
