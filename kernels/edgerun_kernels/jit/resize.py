"""resize_nearest and resize_linear_f32: any rank, one dimension after the other; sizes are the output's.

Where output position o of a dimension lies in the input (float64; n = input size, m = output size, s = scale, L = s·n;
where L is m but for float32 rounding of the scale, L = m and s = m / n):

    half_pixel            (o + 0.5) / s - 0.5
    pytorch_half_pixel    the same, and 0 when m = 1
    align_corners         o · (n - 1) / (L - 1), and 0 when L = 1
    asymmetric            o / s
    half_pixel_symmetric  n / 2 · (1 - m / L) + (o + 0.5) / s - 0.5
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Array, Attrs, Inputs, Kernel, Outputs, integer, operand

HALF_PIXEL, PYTORCH_HALF_PIXEL, ALIGN_CORNERS, ASYMMETRIC, HALF_PIXEL_SYMMETRIC = range(5)
ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL = range(4)


def coordinates(n: int, m: int, scale: float, coord: int) -> Array:
    """Input positions of the m output positions, float64."""
    s = float(np.float32(scale))
    length = s * n
    if n and abs(length - m) <= 1e-5 * m:
        length, s = float(m), m / n
    o = np.arange(m, dtype=np.float64)
    if coord == ASYMMETRIC:
        return o / s
    if coord == ALIGN_CORNERS:
        return o * (n - 1) / (length - 1) if length != 1 else np.zeros(m)
    if coord == PYTORCH_HALF_PIXEL and m == 1:
        return np.zeros(m)
    x = (o + 0.5) / s - 0.5
    if coord == HALF_PIXEL_SYMMETRIC:
        x = x + n / 2 * (1 - m / length)
    return x


def nearest_index(x: Array, n: int, nearest: int) -> Array:
    """The input index taken for each position."""
    if nearest == ROUND_PREFER_FLOOR:
        at = np.ceil(x - 0.5)
    elif nearest == ROUND_PREFER_CEIL:
        at = np.floor(x + 0.5)
    else:
        at = np.floor(x) if nearest == FLOOR else np.ceil(x)
    return np.clip(at.astype(np.int64), 0, n - 1)


def resize_nearest(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y; attributes scales (per dimension, float), coord, nearest."""
    x, y = operand(inputs, 0), outputs[0]
    scales, coord, nearest = attrs["scales"], integer(attrs, "coord"), integer(attrs, "nearest")
    for axis in range(x.ndim):
        if (x.shape[axis], float(scales[axis])) != (y.shape[axis], 1.0):
            n = x.shape[axis]
            at = nearest_index(coordinates(n, y.shape[axis], float(scales[axis]), coord), n, nearest)
            x = np.take(x, at, axis=axis)
    y[...] = x


def resize_linear(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y; attributes scales (per dimension, float), coord. Beyond the border the edge value continues."""
    x, y = operand(inputs, 0), outputs[0]
    scales, coord = attrs["scales"], integer(attrs, "coord")
    for axis in range(x.ndim):
        n, m = x.shape[axis], y.shape[axis]
        if (n, float(scales[axis])) == (m, 1.0):
            continue
        at = np.clip(coordinates(n, m, float(scales[axis]), coord), 0, n - 1)
        low = np.minimum(np.floor(at).astype(np.int64), n - 1)
        high = np.minimum(low + 1, n - 1)
        shape = [1] * x.ndim
        shape[axis] = m
        t = (at - low).astype(np.float32).reshape(shape)
        left = np.take(x, low, axis=axis)
        with np.errstate(all="ignore"):
            between = left * (np.float32(1) - t) + np.take(x, high, axis=axis) * t
        # On an element its neighbour has no say, not even if it is infinite.
        x = np.where(t == 0, left, between)
    y[...] = x


KERNELS: dict[str, Kernel] = {
    **{f"resize_nearest_{s}": resize_nearest for s in SIZES},
    "resize_linear_f32": resize_linear,
}
