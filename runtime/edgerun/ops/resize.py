"""Resize and Upsample: resize_nearest_x8 … x64, resize_linear_f32; other forms of Resize: see resample.py."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from .axes import ints_input
from .dtypes import F, bits, require
from .graph import Unsupported, array_of, get, inverse, permuted, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps
from .resample import NEAREST, resample

COORDINATES = {"half_pixel": 0, "pytorch_half_pixel": 1, "align_corners": 2, "asymmetric": 3, "half_pixel_symmetric": 4}


@legalises("Resize", "Upsample")
def resize(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    mode = get(node, "mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear", "cubic"):
        raise Unsupported(f"mode {mode}")
    shape = shape_of(x)
    old = node.op_type == "Upsample" or legal.opset < 11
    coordinates = "asymmetric" if old else get(node, "coordinate_transformation_mode", "half_pixel")
    crop = coordinates == "tf_crop_and_resize"
    if coordinates not in COORDINATES and not crop:
        raise Unsupported(f"coordinate_transformation_mode {coordinates}")
    scales = _scales(legal, shape, old)
    if crop or mode == "cubic" or get(node, "antialias", 0) or get(node, "exclude_outside", 0):
        return resample(legal, mode, COORDINATES.get(coordinates), scales)
    out = shape_of(node.outputs[0])
    if mode == "linear":
        require(x, F)
        return legal.emit("resize_linear", [x], out, x.dtype, {"scales": scales, "coord": COORDINATES[coordinates]})
    bits(x)
    nearest = NEAREST["floor" if old else get(node, "nearest_mode", "round_prefer_floor")]
    return legal.emit(
        "resize_nearest", [x], out, x.dtype, {"scales": scales, "coord": COORDINATES[coordinates], "nearest": nearest}
    )


def _scales(legal: Legal, shape: tuple[int, ...], old: bool) -> tuple[float, ...]:
    """One scale a dimension, from attribute (Upsample-7), input `scales` or input `sizes`."""
    node, rank = legal.node, len(shape)
    axes = [a % rank for a in get(node, "axes") or range(rank)]
    given = get(node, "scales")
    if given is None:
        value = legal.input(1 if old else 2)
        array = array_of(value)
        if value is not None and array is None:
            raise Unsupported("scales are not constant")
        given = tuple(float(v) for v in array.reshape(-1)) if array is not None and array.size else None
    if given is None:
        sizes = ints_input(legal, 3, "sizes")
        if sizes is None:
            raise Unsupported("neither scales nor sizes are given")
        given = [size / shape[axis] for size, axis in zip(sizes, axes, strict=True)]
        policy = get(node, "keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            given = [(min if policy == "not_larger" else max)(given)] * len(given)
    scales = [1.0] * rank
    for scale, axis in zip(given, axes, strict=True):
        if not (scale > 0 and math.isfinite(scale)):
            raise Unsupported(f"scale {scale}")
        scales[axis] = float(scale)
    return tuple(scales)


@remaps("resize_nearest", "resize_linear")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    return {"scales": permuted(get(node, "scales"), inverse(perm))}, perm


@lowers("resize_nearest", "resize_linear")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    attrs = {"scales": get(node, "scales"), "coord": (get(node, "coord"),)}
    if node.op_type == "resize_nearest":
        ctx.step(
            f"resize_nearest_{bits(y)}",
            [ctx.use(node.inputs[0])],
            [ctx.use(y)],
            {**attrs, "nearest": (get(node, "nearest"),)},
        )
    else:
        ctx.step("resize_linear_f32", [ctx.use(node.inputs[0])], [ctx.use(y)], attrs)
