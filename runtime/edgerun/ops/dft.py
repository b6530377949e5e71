"""DFT and STFT as matrix products with tables of cosines and sines, made ahead of time in float64.

A product beats a Fourier transform of its own at the lengths that audio models use (some hundred points): it is the kernel that is
there, on all cores, and half of the work is left out where half of the spectrum is asked for. A longer transform of n1·n2 points
is one of n1 points, a turn of every result, and one of n2 points (Cooley and Tukey 1965): n·(n1 + n2) instead of n².
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .compose import Compose, room
from .dtypes import F, require
from .graph import Unsupported, constant, get, scalar_of, shape_of
from .registry import Legal, legalises

DIRECT = 1 << 20
"""Elements of a table up to which one product is made."""


@legalises("DFT")
def dft(legal: Legal) -> ir.Value:
    """x[…, n, …, 1 or 2] → […, k, …, 2]; inverse and one-sided: […, n, …, 1]."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    require(x, F)
    rank = len(shape_of(x))
    axis = _axis(legal)
    if not -rank <= axis < rank or axis % rank == rank - 1 or shape_of(x)[-1] not in (1, 2):
        raise Unsupported(f"axis {axis} of shape {list(shape_of(x))}")
    axis %= rank
    inverse, half = bool(get(node, "inverse", 0)), bool(get(node, "onesided", 0))
    length = legal.input(1)
    given = scalar_of(length)
    if length is not None and given is None:
        raise Unsupported("dft_length is not constant")
    n = int(given) if given is not None else shape_of(x)[axis] if not (inverse and half) else 2 * (shape_of(x)[axis] - 1)
    if n < 1:
        raise Unsupported(f"a transform of {n} points")
    perm = (*(d for d in range(rank - 1) if d != axis), axis, rank - 1)
    y = transform(c, c.transpose(x, perm), n, inverse, half)
    return c.transpose(y, tuple(perm.index(d) for d in range(rank)))


def _axis(legal: Legal) -> int:
    if legal.opset < 20:
        return int(get(legal.node, "axis", 1))
    axis = legal.input(2)
    value = -2 if axis is None else scalar_of(axis)
    if value is None:
        raise Unsupported("the axis is not constant")
    return int(value)


@legalises("STFT")
def stft(legal: Legal) -> ir.Value:
    """signal[batch, length, 1 or 2] → [batch, frames, k, 2]."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    require(x, F)
    step, window, given = scalar_of(legal.required(1)), legal.input(2), legal.input(3)
    half = bool(get(node, "onesided", 1))
    if len(shape_of(x)) == 2:
        x = c.reshape(x, (*shape_of(x), 1))
    samples, parts = shape_of(x)[1:]
    n = scalar_of(given) if given is not None else shape_of(window)[0] if window is not None else samples
    if step is None or n is None:
        raise Unsupported("frame_step or frame_length is not constant")
    step, n = int(step), int(n)
    width = n if window is None else shape_of(window)[0]
    if step < 1 or not 1 <= width <= n <= samples or parts not in (1, 2) or (half and parts == 2):
        raise Unsupported(f"frames of {n} with a window of {width} every {step} of {samples} samples of {parts} parts")
    frames = 1 + (samples - n) // step
    room(frames * width)
    at = np.arange(frames)[:, None] * step + np.arange(width)
    framed = c.gather(x, constant(at), 1)
    if window is not None:
        require(window, F)
        framed = c.apply("mul", framed, c.reshape(window, (width, 1)))
    return transform(c, framed, n, False, half)


def transform(c: Compose, x: ir.Value, n: int, inverse: bool, half: bool) -> ir.Value:
    """Transform of n points along the last axis but one of x[…, points, parts]; points are cut off, or 0 beyond the end."""
    room(n)  # before its factors are sought
    *lead, points, parts = shape_of(x)
    kept = min(points, n // 2 + 1 if inverse and half else n)
    x = c.slice(x, -2, 0, kept)
    out, results = (n, 1) if inverse and half else (n // 2 + 1 if half else n, 2)
    if kept * parts * out * results <= DIRECT or not (split := _factors(n)) or (inverse and half):
        room(kept * parts * out * results)
        flat = c.matmul(c.reshape(x, (math.prod(lead), kept * parts)), constant(matrix(n, kept, parts, out, inverse, half)))
        return c.reshape(flat, (*lead, out, results))
    if kept < n:
        zeros = constant(np.zeros((*lead, n - kept, parts), np.float32))
        room(math.prod(lead) * n * parts)
        x = c.concat([x, zeros], len(lead))
    return c.slice(_two_steps(c, x, *split, inverse), -2, 0, out)


def _two_steps(c: Compose, x: ir.Value, n1: int, n2: int, inverse: bool) -> ir.Value:
    """With points n2·i + j and frequencies k + n1·l: over i, times a turn by j·k, over j."""
    *lead, _, parts = shape_of(x)
    b = math.prod(lead)
    x = c.transpose(c.reshape(x, (b, n1, n2, parts)), (0, 2, 1, 3))
    first = c.matmul(c.reshape(x, (b * n2, n1 * parts)), constant(matrix(n1, n1, parts, n1, inverse, False)))
    first = c.reshape(first, (b, n2, n1, 2))
    angle = (2 if inverse else -2) * np.pi * np.outer(np.arange(n2), np.arange(n1)) / (n1 * n2)
    swapped = c.gather(first, constant(np.array([1, 0])), 3)
    cos = constant(np.repeat(np.cos(angle)[..., None], 2, axis=-1).astype(np.float32))
    sin = constant(np.stack([-np.sin(angle), np.sin(angle)], axis=-1).astype(np.float32))
    turned = c.apply("add", c.apply("mul", first, cos), c.apply("mul", swapped, sin))
    turned = c.reshape(c.transpose(turned, (0, 2, 1, 3)), (b * n1, n2 * 2))
    second = c.reshape(c.matmul(turned, constant(matrix(n2, n2, 2, n2, inverse, False))), (b, n1, n2, 2))
    return c.reshape(c.transpose(second, (0, 2, 1, 3)), (*lead, n1 * n2, 2))


def _factors(n: int) -> tuple[int, int] | None:
    """n as a product of two factors that are as near to each other as can be; None for a prime or an unbalanced product."""
    first = next((f for f in range(math.isqrt(n), 1, -1) if n % f == 0), 1)
    return (first, n // first) if first > 1 and 4 * (n // first) ** 2 <= 1 << 24 else None


def matrix(n: int, points: int, parts: int, out: int, inverse: bool, half: bool) -> np.ndarray:
    """[points·parts, out·results] f32: what every part of every point adds to every part of every result."""
    # Multiples of a whole turn are taken off in integers: the angle stays exact for any length.
    angle = 2 * np.pi * (np.outer(np.arange(points), np.arange(out)) % n) / n
    cos, sin = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    scale = 1.0 / n if inverse else 1.0
    if inverse and half:
        # Results are real: every frequency but 0 and n/2 stands for itself and its mirror image.
        twice = np.where((np.arange(points) == 0) | (2 * np.arange(points) == n), 1.0, 2.0)[:, None] * scale
        table = np.stack([cos * twice, -sin * np.where(twice == scale, 0.0, twice)])[:parts]  # [part, point, result]
        return table.transpose(1, 0, 2).reshape(points * parts, out).astype(np.float32)
    table = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)])[:parts] * scale  # [part, point, result, part]
    return table.transpose(1, 0, 2, 3).reshape(points * parts, 2 * out).astype(np.float32)
