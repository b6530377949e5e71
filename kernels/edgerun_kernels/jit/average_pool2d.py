"""average_pool2d_f32: the mean of every window. x[N,H,W,C] → y[N,OH,OW,C].

The divisor counts the taps inside the image, with count_include_pad = 1 also those inside the pads; taps beyond the
pads (ceil_mode) never count. A window with no tap gives NaN.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.windows import Window, padded, tap, window
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, ints, operand


def _taps_inside(outputs: int, taps: int, stride: int, dilation: int, pad: int, low: int, high: int) -> Array:
    """Per output position, how many taps of one dimension lie in [low, high)."""
    at = np.arange(outputs)[:, None] * stride - pad + np.arange(taps)[None, :] * dilation
    return np.asarray(((at >= low) & (at < high)).sum(axis=1))


def taps_counted(x: Array, win: Window, out_hw: tuple[int, int], include: int) -> Array:
    """[OH, OW]: the taps of each window that lie in the image, with `include` those in its pads as well."""
    counts = []
    for k in range(2):
        size, before, after = x.shape[1 + k], win.pads[k], win.pads[2 + k]
        low, high = (-before, size + after) if include else (0, size)
        counts.append(_taps_inside(out_hw[k], win.kernel[k], win.strides[k], win.dilations[k], before, low, high))
    return np.asarray(counts[0][:, None] * counts[1][None, :])


def average_pool2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y."""
    x, y = operand(inputs, 0), outputs[0]
    win = window(attrs, ints(attrs, "kernel"))
    out_hw = (y.shape[1], y.shape[2])
    count = taps_counted(x, win, out_hw, integer(attrs, "count_include_pad"))
    image = padded(x, win, out_hw, 0.0)
    total = np.zeros(y.shape, np.float64)
    for i in range(win.kernel[0]):
        for j in range(win.kernel[1]):
            total += tap(image, win, out_hw, i, j)
    with np.errstate(all="ignore"):
        y[...] = total / count[None, :, :, None]


KERNELS: dict[str, Kernel] = {"average_pool2d_f32": average_pool2d}
