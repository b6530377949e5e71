"""qconv2d: y = clamp(rescale(sum (x - x_zero) w + bias) + y_zero, low, high); channels-last, grouped, exact.

x[N,H,W,Ci] (i8, u8), w[Co,KH,KW,Ci/g] (i8, i16: its zero point subtracted), bias[Co]? i32, factors[2,Co or 1]? i32 (m, left)
→ y[N,OH,OW,Co] i8 or u8, or the sums (i32) where there are no factors. Padding is x_zero.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_rescaled, check_sums
from edgerun_kernels.jit.fixed_point import rescale
from edgerun_kernels.jit.windows import columns, padded, window
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, operand, optional


def finish(total: Array, inputs: Inputs, attrs: Attrs, y: Array, sink: Sink | None) -> Array:
    """Adds the bias to exact sums (float64 or int64), rescales them where there are factors, and stores them; the sums, for a
    checksum. verify_rescale: the bytes are verified."""
    sums = total.astype(np.int64)
    bias, factors = optional(inputs, 2), optional(inputs, 3)
    if bias is not None:
        sums += bias
    if sink is not None:
        sink.strike("accumulator", sums)
    if factors is None:
        y[...] = sums
        if sink is not None:
            sink.strike("result", y)
        return sums
    zero, info = integer(attrs, "y_zero"), np.iinfo(y.dtype)
    low, high = integer(attrs, "low", int(info.min)), integer(attrs, "high", int(info.max))
    steps = np.ascontiguousarray(rescale(sums, factors[0], factors[1]))
    if sink is not None:
        sink.strike("rescaled", steps)
    y[...] = np.clip(steps + zero, low, high)
    if sink is not None:
        sink.strike("result", y)
        if integer(attrs, "verify_rescale"):
            most = (np.int64(1) << (31 - factors[1].astype(np.int64))) - 1
            check_rescaled(sink, np.clip(sums, -most, most) * np.ldexp(factors[0].astype(np.float64), factors[1] - 31) + zero, low, high, y)
    return sums


def qconv2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w bias? factors? → y. abft: the sums are verified by their checksum."""
    x, w, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    group = integer(attrs, "group", 1)
    win = window(attrs, w.shape[1:3])
    out_hw = (y.shape[1], y.shape[2])
    cin, cout = w.shape[3], w.shape[0] // group
    total = np.zeros(y.shape, np.float64)  # exact: all sums are below 2^31
    expected = np.zeros(y.shape[3], np.int64)
    if y.size:
        real = padded(x.astype(np.float64) - integer(attrs, "x_zero"), win, out_hw, 0.0)
        for g in range(group):
            rows = columns(real[..., g * cin : (g + 1) * cin], win, out_hw)
            weights = w[g * cout : (g + 1) * cout].reshape(cout, rows.shape[1])
            total[..., g * cout : (g + 1) * cout] = (rows @ weights.astype(np.float64).T).reshape(*y.shape[:3], cout)
            if sink is not None:
                expected[g * cout : (g + 1) * cout] = weights.astype(np.int64) @ rows.sum(axis=0).astype(np.int64)
    sums = finish(total, inputs, attrs, y, sink)
    if sink is not None and integer(attrs, "abft"):
        check_sums(sink, sums, expected, optional(inputs, 2))


KERNELS: dict[str, Kernel] = {"qconv2d_i8": qconv2d, "qconv2d_u8": qconv2d}
