"""Sliding windows over channels-last images [N, H, W, C], shared by convolution and pooling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgerun_kernels.types import Array, Attrs, ints


class Window(NamedTuple):
    """The geometry of a 2-D window; pads are (top, left, bottom, right)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


def window(attrs: Attrs, kernel: tuple[int, ...]) -> Window:
    """Read strides, pads and dilations; absent ones are 1, 0 and 1."""
    strides, dilations = ints(attrs, "strides", (1, 1)), ints(attrs, "dilations", (1, 1))
    return Window(kernel, strides, ints(attrs, "pads", (0, 0, 0, 0)), dilations)


def padded(x: Array, w: Window, out_hw: tuple[int, int], value: float) -> Array:
    """x with its border, large enough for every window of the output (ceil_mode may reach beyond the pads)."""
    top, left = w.pads[0], w.pads[1]
    reach = [(out_hw[k] - 1) * w.strides[k] + (w.kernel[k] - 1) * w.dilations[k] + 1 for k in range(2)]
    bottom, right = max(reach[0] - top - x.shape[1], 0), max(reach[1] - left - x.shape[2], 0)
    if not (top or left or bottom or right):
        return x
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def tap(x: Array, w: Window, out_hw: tuple[int, int], i: int, j: int) -> Array:
    """What every window sees at its position (i, j): a view [N, OH, OW, C] of the padded x."""
    top, left = i * w.dilations[0], j * w.dilations[1]
    return x[:, top : top + (out_hw[0] - 1) * w.strides[0] + 1 : w.strides[0],
             left : left + (out_hw[1] - 1) * w.strides[1] + 1 : w.strides[1]]


def columns(x: Array, w: Window, out_hw: tuple[int, int]) -> Array:
    """Every window of the padded x as a row: [N·OH·OW, KH·KW·C], a copy unless the window is one pixel."""
    n, c = x.shape[0], x.shape[3]
    s = x.strides
    view = np.lib.stride_tricks.as_strided(
        x,
        (n, *out_hw, *w.kernel, c),
        (s[0], s[1] * w.strides[0], s[2] * w.strides[1], s[1] * w.dilations[0], s[2] * w.dilations[1], s[3]),
        writeable=False,
    )
    return view.reshape(n * out_hw[0] * out_hw[1], w.kernel[0] * w.kernel[1] * c)
