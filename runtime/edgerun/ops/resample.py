"""Resize by weights known ahead of time, one axis after the other: cubic, antialiased, exclude_outside, tf_crop_and_resize.

Every output element of an axis is a weighted sum of a few input elements (resample_f32). Weights are those of onnx.reference:
with x the position in the input, base = ceil(x) - 1 and r = x - base in (0, 1], taps lie around base; antialiasing stretches them
by 1 / scale where that shrinks. Outside of the input its border continues, unless exclude_outside leaves those taps out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgerun_kernels.jit.resize import coordinates, nearest_index

from .compose import Compose, room
from .dtypes import F, require
from .graph import Unsupported, array_of, constant, get, shape_of
from .registry import Legal, Lowering, lowers, remaps

NEAREST = {"round_prefer_floor": 0, "round_prefer_ceil": 1, "floor": 2, "ceil": 3}


def resample(legal: Legal, mode: str, coord: int | None, scales: Sequence[float]) -> ir.Value:
    """The nodes of such a Resize. coord: code of the coordinate rule, None for tf_crop_and_resize."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    require(x, F)
    shape, out = shape_of(x), shape_of(node.outputs[0])
    ends = _crop(legal, len(shape)) if coord is None else [(0.0, 1.0)] * len(shape)
    outside = []
    for axis, (n, m, scale) in enumerate(zip(shape, out, scales, strict=True)):
        if n == m and math.isclose(scale, 1.0) and ends[axis] == (0.0, 1.0):
            continue
        if n == 0 or m == 0:
            raise Unsupported(f"{n} elements resized to {m}")
        at = crop(n, m, scale, *ends[axis]) if coord is None else coordinates(n, m, scale, coord)
        outside.append((axis, (at < 0) | (at > n - 1)))
        index, weight = table(at, n, scale, mode, node)
        size = [*shape_of(x)[:axis], m, *shape[axis + 1 :]]
        x = legal.emit("resample", [x, constant(index), constant(weight)], size, x.dtype, {"axis": axis})
    for axis, gone in outside if coord is None else ():
        if gone.any():
            mask = constant(gone.reshape([len(gone) if d == axis else 1 for d in range(len(shape))]))
            x = c.apply("where", mask, float(get(node, "extrapolation_value", 0.0)), x)
    return x


def _crop(legal: Legal, rank: int) -> list[tuple[float, float]]:
    """Begin and end of the region of every dimension, from input `roi`."""
    roi, axes = array_of(legal.input(1)), get(legal.node, "axes")
    axes = [a % rank for a in axes] if axes else list(range(rank))
    if roi is None or roi.size != 2 * len(axes) or not np.isfinite(roi.astype(np.float64)).all():
        raise Unsupported("roi is not constant, or not two numbers for every axis")
    ends = [(0.0, 1.0)] * rank
    for k, axis in enumerate(axes):
        ends[axis] = (float(roi[k]), float(roi[k + len(axes)]))
    return ends


def crop(n: int, m: int, scale: float, begin: float, end: float) -> np.ndarray:
    """Input positions of the m output positions under tf_crop_and_resize."""
    length = scale * n
    if length == 1:
        return np.full(m, (end - begin) * (n - 1) / 2 + begin * (n - 1))
    return np.arange(m) * (end - begin) * (n - 1) / (length - 1) + begin * (n - 1)


def table(at: np.ndarray, n: int, scale: float, mode: str, node: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    """(index, weight), both [m, taps], of positions `at` in an axis of n elements."""
    at = np.clip(at, -4.0 * n - 8, 5.0 * n + 8)  # farther out nothing changes, and integers hold it
    if mode == "nearest":
        index = nearest_index(at, n, NEAREST[get(node, "nearest_mode", "round_prefer_floor")])[:, None]
        return index, np.ones(index.shape, np.float32)
    shrink = min(scale, 1.0) if get(node, "antialias", 0) else 1.0
    reach = 2 if mode == "cubic" else 1
    start = math.floor(-reach / shrink) + 1
    room(len(at) * (2 - 2 * start))
    base = np.ceil(at) - 1
    offsets = np.arange(start, 2 - start)
    away = (offsets - (at - base)[:, None]) * shrink
    weight = keys(away, get(node, "cubic_coeff_a", -0.75)) if mode == "cubic" else np.clip(1 - np.abs(away), 0, 1)
    index = base.astype(np.int64)[:, None] + offsets
    if get(node, "exclude_outside", 0):
        weight = np.where((index < 0) | (index >= n), 0.0, weight)
    if get(node, "exclude_outside", 0) or get(node, "antialias", 0):
        weight = weight / weight.sum(axis=1, keepdims=True)
    if not np.isfinite(weight).all():
        raise Unsupported("no input element has a weight")
    return np.clip(index, 0, n - 1), weight.astype(np.float32)


def keys(away: np.ndarray, a: float) -> np.ndarray:
    """Weights of the cubic convolution (Keys 1981) at these distances."""
    x = np.abs(away)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@remaps("resample")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, object], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("resample")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step("resample_f32", [ctx.use(v) for v in node.inputs], [ctx.use(node.outputs[0])], {"axis": (get(node, "axis"),)})
