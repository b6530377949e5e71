"""conv2d_dw_f32: depthwise convolution; output channel c reads input channel c / m only.

x[N,H,W,C] w[KH,KW,C·m] b[C·m]? r[N,OH,OW,C·m]? → y = act(conv + b + r) [N,OH,OW,C·m].
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_products
from edgerun_kernels.jit._numba import HAVE_NUMBA, njit
from edgerun_kernels.jit.activation import finish
from edgerun_kernels.jit.windows import Window, padded, tap, window
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, operand, optional


@njit
def _loop(x: Array, w: Array, sh: int, sw: int, dh: int, dw: int, y: Array) -> None:
    """x is padded and has one channel per output channel; y is overwritten."""
    for n in range(y.shape[0]):
        for oh in range(y.shape[1]):
            for ow in range(y.shape[2]):
                for c in range(y.shape[3]):
                    y[n, oh, ow, c] = 0
                for i in range(w.shape[0]):
                    for j in range(w.shape[1]):
                        for c in range(y.shape[3]):
                            y[n, oh, ow, c] += x[n, oh * sh + i * dh, ow * sw + j * dw, c] * w[i, j, c]


def _taps(x: Array, w: Array, win: Window, y: Array) -> None:
    """The same sum, one tap of the window after the other."""
    y[...] = 0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            y += tap(x, win, (y.shape[1], y.shape[2]), i, j) * w[i, j]


def _verify(x: Array, w: Array, win: Window, total: Array, sink: Sink) -> None:
    expected, size = np.zeros(w.shape[2]), np.zeros(w.shape[2])
    with np.errstate(all="ignore"):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                seen = tap(x, win, (total.shape[1], total.shape[2]), i, j)
                expected += seen.sum(axis=(0, 1, 2), dtype=np.float64) * w[i, j]
                size += np.abs(seen).sum(axis=(0, 1, 2), dtype=np.float64) * np.abs(w[i, j])
        check_products(sink, 0, total.reshape(-1, total.shape[3]), expected, size, w.shape[0] * w.shape[1])


def conv2d_dw(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w b? r? → y. abft: the sums are verified by their checksum."""
    x, w, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    bias, residual = optional(inputs, 2), optional(inputs, 3)
    win = window(attrs, w.shape[:2])
    x = padded(x, win, (y.shape[1], y.shape[2]), 0.0)
    if w.shape[2] != x.shape[3]:
        x = np.repeat(x, w.shape[2] // x.shape[3], axis=3)
    total = np.empty(y.shape, np.float32)
    if HAVE_NUMBA:
        _loop(x, w, win.strides[0], win.strides[1], win.dilations[0], win.dilations[1], total)
    else:
        _taps(x, w, win, total)
    if sink is not None and integer(attrs, "abft") and y.size:
        sink.strike("accumulator", total)
        _verify(x, w, win, total, sink)
    if bias is not None:
        total += bias
    if residual is not None:
        total += residual
    finish(total, attrs, y, sink)


KERNELS: dict[str, Kernel] = {"conv2d_dw_f32": conv2d_dw}
