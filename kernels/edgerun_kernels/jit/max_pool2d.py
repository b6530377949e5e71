"""max_pool2d_{f32,i8,u8}: the largest value of every window, or its NaN. x[N,H,W,C] → y[N,OH,OW,C].

Padding is -inf, of integers their smallest value.
"""

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
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    x = padded(x, win, out_hw, lowest)
    y[...] = lowest
    for i in range(win.kernel[0]):
        for j in range(win.kernel[1]):
            np.maximum(y, tap(x, win, out_hw, i, j), out=y)


KERNELS: dict[str, Kernel] = {f"max_pool2d_{t}": max_pool2d for t in ("f32", "i8", "u8")}
