"""max_pool2d_f32: the largest value of every window, or its NaN; padding is -inf. x[N,H,W,C] → y[N,OH,OW,C]."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.windows import padded, tap, window
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, ints, operand


def max_pool2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y; the window's positions follow from the output's size (ceil_mode is the planner's affair)."""
    x, y = operand(inputs, 0), outputs[0]
    win = window(attrs, ints(attrs, "kernel"))
    out_hw = (y.shape[1], y.shape[2])
    x = padded(x, win, out_hw, -np.inf)
    y[...] = -np.inf
    for i in range(win.kernel[0]):
        for j in range(win.kernel[1]):
            np.maximum(y, tap(x, win, out_hw, i, j), out=y)


KERNELS: dict[str, Kernel] = {"max_pool2d_f32": max_pool2d}
