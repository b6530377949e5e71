"""qaverage_pool2d_{i8,u8}: the mean of every window in another scale. x[N,H,W,C], scale int32 [2, KH·KW] → y[N,OH,OW,C].

    y = clamp(rescale_even(Σ (x - x_zero)) + y_zero, low, high)

with (m, left) of column count - 1, the taps being counted as by average_pool2d_f32; padding adds nothing. No tap: y_zero.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.average_pool2d import taps_counted
from edgerun_kernels.jit.fixed_point import rescale_even
from edgerun_kernels.jit.narrow import narrow
from edgerun_kernels.jit.windows import padded, tap, window
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, ints, operand


def qaverage_pool2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x, scale → y; x and y are i8 or u8."""
    x, scale, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    win = window(attrs, ints(attrs, "kernel"))
    out_hw = (y.shape[1], y.shape[2])
    count = taps_counted(x, win, out_hw, integer(attrs, "count_include_pad"))
    image = padded(x.astype(np.int32) - integer(attrs, "x_zero"), win, out_hw, 0)
    total = np.zeros(y.shape, np.int64)
    for i in range(win.kernel[0]):
        for j in range(win.kernel[1]):
            total += tap(image, win, out_hw, i, j)
    m, left = scale[:, np.maximum(count, 1) - 1][..., None]
    narrow(np.where(count[..., None] > 0, rescale_even(total, m, left), 0), attrs, y)


KERNELS: dict[str, Kernel] = {"qaverage_pool2d_i8": qaverage_pool2d, "qaverage_pool2d_u8": qaverage_pool2d}
