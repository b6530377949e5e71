"""grid_sample_f32: y[n, o…, :] is x[n, …, :] interpolated at the place grid[n, o…, :]; see kernels/cpp/layout/grid_sample_f32.cpp.

x[N, spatial (1 to 3), C], grid[N, O…, spatial] in [-1, 1] with the last axis first, y[N, O…, C]. One coordinate is at most four taps
of an axis; a place takes the product of its axes' taps.
"""

from __future__ import annotations

import itertools

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, operand

LINEAR, NEAREST, CUBIC = range(3)
ZEROS, BORDER, REFLECTION = range(3)
_A = np.float32(-0.75)


def mirrored(i: Array, n: int, align: int) -> Array:
    """Indices outside [0, n), mirrored about the outermost elements' centres (align) or outer edges."""
    if n == 1:
        return np.zeros_like(i)
    period = 2 * (n - 1) if align else 2 * n
    i = np.mod(i, period)
    return np.where(i < n, i, period - i - (0 if align else 1))


def reflected(x: Array, low: float, high: float) -> Array:
    """Coordinates outside [low, high], mirrored about it."""
    span = high - low
    if not span > 0:
        return np.where((x >= low) & (x <= high), x, low)
    away = np.where(x < low, low - x, x - high)
    turns = np.floor(away / span)
    rest = away - turns * span
    near = (x < low) == (np.mod(turns, 2) == 0)
    return np.where((x >= low) & (x <= high), x, np.where(near, low + rest, high - rest))


def keys(t: Array) -> list[Array]:
    """Weights of the four elements around a position (Keys 1981, a = -0.75)."""
    a, one, s = _A, np.float32(1), np.float32(1) - t
    return [((a * (u + one) - 5 * a) * (u + one) + 8 * a) * (u + one) - 4 * a if outer
            else ((a + 2) * u - (a + 3)) * u * u + one
            for u, outer in ((t, True), (t, False), (s, False), (s, True))]


def taps(g: Array, n: int, mode: int, padding: int, align: int) -> list[tuple[Array, Array]]:
    """(indices, weights) of an axis of n elements for normalised coordinates; weights are NaN where a coordinate is no number."""
    length = np.float32(n)
    one, two = np.float32(1), np.float32(2)
    x = (g + one) / two * (length - one) if align else ((g + one) * length - one) / two
    if mode == NEAREST:
        x = np.rint(x)
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    if padding == BORDER:
        x = np.where(x < low, np.float32(0), np.where(x > high, length - one, x))
    elif padding == REFLECTION:
        x = reflected(x.astype(np.float64), low, high).astype(np.float32)
    near = (x > -4) & (x < length + 4)
    at = np.where(near, x, np.float32(0))
    base = np.floor(at)
    t = at - base
    first = base.astype(np.int64)
    if mode == NEAREST:
        weights = [np.ones_like(t)]
    elif mode == LINEAR:
        weights = [one - t, t]
    else:
        weights, first = keys(t), first - 1
    found = []
    for k, w in enumerate(weights):
        i = first + k
        inside = (i >= 0) & (i < n)
        w = np.where(near & (inside if padding == ZEROS else True), w, np.float32(0))
        w = np.where(np.isnan(x), np.float32(np.nan), w)
        i = np.clip(i, 0, n - 1) if padding != REFLECTION else np.where(inside, i, mirrored(i, n, align))
        found.append((i, w))
    return found


def grid_sample(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x grid → y; attributes mode (0 linear, 1 nearest, 2 cubic), padding (0 zeros, 1 border, 2 reflection), align_corners."""
    x, grid, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    y[...] = 0
    if not y.size:
        return
    mode, padding, align = integer(attrs, "mode"), integer(attrs, "padding"), integer(attrs, "align_corners")
    axes = x.ndim - 2
    with np.errstate(all="ignore"):
        by_axis = [taps(grid[..., axes - 1 - k], x.shape[1 + k], mode, padding, align) for k in range(axes)]
        image = np.arange(len(x)).reshape(-1, *[1] * axes)
        for chosen in itertools.product(*by_axis):
            weight = np.prod(np.stack([w for _, w in chosen]), axis=0)[..., None]
            at = (image, *(i for i, _ in chosen))
            term = x[at] * weight
            y += np.where(weight == 0, np.float32(0), term)  # what has no weight is not looked at, not even if it is infinite


KERNELS: dict[str, Kernel] = {"grid_sample_f32": grid_sample}
