"""qsoftmax_{i8,u8}: softmax of a quantised tensor along `axis`, by a table: table[d] = round(exp(-scale_x d) 2^30).

    e = table[max - x], s = Σ e
    y f32:     (float)((double)e / (double)s)
    y i8, u8:  clamp(y_zero + (2 e R + 2^12 s) / (2^13 s), low, high), R = `inverse` = round(2^12 / scale_y), integer division
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.narrow import narrow
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, required


def qsoftmax(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x, table int32 [256] → y, same shape. With f32 output only `axis` is read."""
    x, table, y = operand(inputs, 0).astype(np.int64), operand(inputs, 1), outputs[0]
    if x.size == 0:
        return
    axis = integer(attrs, "axis", -1) % max(x.ndim, 1)
    along = axis if x.ndim else None
    e = table[x.max(axis=along, keepdims=True) - x].astype(np.int64)
    s = e.sum(axis=along, keepdims=True)
    if y.dtype.kind == "f":
        y[...] = e.astype(np.float64) / s.astype(np.float64)
        return
    narrow((2 * e * required(attrs, "inverse") + (s << 12)) // (s << 13), attrs, y)


KERNELS: dict[str, Kernel] = {"qsoftmax_i8": qsoftmax, "qsoftmax_u8": qsoftmax}
