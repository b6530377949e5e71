"""LayerNormalization: layer_norm_f32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, constant, get, operand, shape_of
from .registry import Legal, Lowering, legalises, lowers


@legalises("LayerNormalization")
def layer_norm(legal: Legal) -> list[ir.Value]:
    x, node = legal.required(0), legal.node
    require(x, F)
    if not shape_of(x):
        raise Unsupported("a scalar has no axis")
    axis = get(node, "axis", -1) % len(shape_of(x))
    for index in (1, 2):
        value = legal.input(index)
        if value is not None and shape_of(value) != shape_of(x)[axis:]:
            raise Unsupported(f"Scale or B is broadcast: {shape_of(value)} against {shape_of(x)[axis:]}")
    attrs = {"axis": axis, "epsilon": get(node, "epsilon", 1e-5)}
    y = legal.emit("layer_norm", [x, legal.input(1), legal.input(2)], shape_of(x), x.dtype, attrs)
    used = [legal.output_used(k) for k in range(1, len(node.outputs))]
    return (
        [y, *_statistics(legal, x, axis, attrs["epsilon"])][: len(node.outputs)] if any(used) else [y] + [y] * len(used)
    )


def _statistics(legal: Legal, x: ir.Value, axis: int, epsilon: float) -> list[ir.Value]:
    """Mean and InvStdDev, which only training wants: computed by the definition."""
    axes = {"axes": tuple(range(axis, len(shape_of(x)))), "keepdims": 1}
    kept = (*shape_of(x)[:axis], *(1,) * (len(shape_of(x)) - axis))
    mean = legal.emit("reduce_mean", [x], kept, x.dtype, axes)
    centred = legal.emit("sub", [x, mean], shape_of(x), x.dtype)
    square = legal.emit("mul", [centred, centred], shape_of(x), x.dtype)
    variance = legal.emit("reduce_mean", [square], kept, x.dtype, axes)
    moved = legal.emit("add", [variance, constant(np.float32(epsilon).reshape(()))], kept, x.dtype)
    root = legal.emit("sqrt", [moved], kept, x.dtype)
    return [mean, legal.emit("reciprocal", [root], kept, x.dtype)]


@lowers("layer_norm")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(
        "layer_norm_f32",
        [ctx.use(operand(node, k)) for k in range(3)],
        [ctx.use(node.outputs[0])],
        {"axis": (get(node, "axis"),), "epsilon": (get(node, "epsilon"),)},
    )
