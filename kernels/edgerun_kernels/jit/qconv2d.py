"""qconv2d: y = clamp(rescale(sum (x - x_zero) w + bias) + y_zero, low, high); channels-last, grouped, exact.

x[N,H,W,Ci] (i8, u8), w[Co,KH,KW,Ci/g] (i8, i16: its zero point subtracted), bias[Co]? i32, factors[2,Co or 1]? i32 (m, left)
→ y[N,OH,OW,Co] i8 or u8, or the sums (i32) where there are no factors. Padding is x_zero.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.fixed_point import rescale
from edgerun_kernels.jit.windows import columns, padded, window
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, operand, optional


def finish(total: Array, inputs: Inputs, attrs: Attrs, y: Array) -> None:
    """Adds the bias to exact sums (float64 or int64), rescales them where there are factors, and stores them."""
    sums = total.astype(np.int64)
    bias, factors = optional(inputs, 2), optional(inputs, 3)
    if bias is not None:
        sums += bias
    if factors is not None:
        sums = rescale(sums, factors[0], factors[1]) + integer(attrs, "y_zero")
        info = np.iinfo(y.dtype)
        sums = np.clip(sums, integer(attrs, "low", int(info.min)), integer(attrs, "high", int(info.max)))
    y[...] = sums


def qconv2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w bias? factors? → y."""
    x, w, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    group = integer(attrs, "group", 1)
    win = window(attrs, w.shape[1:3])
    out_hw = (y.shape[1], y.shape[2])
    cin, cout = w.shape[3], w.shape[0] // group
    total = np.zeros(y.shape, np.float64)  # exact: all sums are below 2^31
    if y.size:
        real = padded(x.astype(np.float64) - integer(attrs, "x_zero"), win, out_hw, 0.0)
        for g in range(group):
            rows = columns(real[..., g * cin : (g + 1) * cin], win, out_hw)
            weights = w[g * cout : (g + 1) * cout].reshape(cout, rows.shape[1]).astype(np.float64)
            total[..., g * cout : (g + 1) * cout] = (rows @ weights.T).reshape(*y.shape[:3], cout)
    finish(total, inputs, attrs, y)


KERNELS: dict[str, Kernel] = {"qconv2d_i8": qconv2d, "qconv2d_u8": qconv2d}
