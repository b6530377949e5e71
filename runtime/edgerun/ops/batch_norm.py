"""BatchNormalization (inference): y = x·scale + shift along one axis; batch_norm_f32 where that axis is the last."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .epilogue import epilogue
from .graph import Unsupported, array_of, constant, get, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("BatchNormalization")
def batch_norm(legal: Legal) -> ir.Value:
    x = legal.required(0)
    require(x, F)
    arrays = [array_of(legal.input(k)) for k in range(1, 5)]
    if get(legal.node, "training_mode", 0) or any(legal.output_used(k) for k in range(1, len(legal.node.outputs))):
        raise Unsupported("training mode")
    if not get(legal.node, "spatial", 1):  # opset 7
        raise Unsupported("statistics per activation (spatial=0)")
    if any(a is None for a in arrays):
        raise Unsupported("scale, bias, mean or variance is not constant")
    gamma, beta, mean, var = (np.asarray(a, np.float64) for a in arrays)
    scale = gamma / np.sqrt(var + get(legal.node, "epsilon", 1e-5))
    shift = beta - mean * scale
    if len(shape_of(x)) == 1:  # one channel, and the only axis is the batch
        scale, shift = np.broadcast_to(scale, shape_of(x)), np.broadcast_to(shift, shape_of(x))
    inputs = [x, constant(scale.astype(np.float32)), constant(shift.astype(np.float32))]
    return legal.emit("batch_norm", inputs, shape_of(x), x.dtype, {"axis": min(1, len(shape_of(x)) - 1)})


@remaps("batch_norm")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, int], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("batch_norm")
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    scale, shift = array_of(node.inputs[1]), array_of(node.inputs[2])
    assert scale is not None and shift is not None
    rank, axis = len(shape_of(x)), get(node, "axis")
    if axis == rank - 1:
        ctx.step("batch_norm_f32", [ctx.use(v) for v in node.inputs], [ctx.use(y)], epilogue(node))
        return
    column = (-1, *(1,) * (rank - axis - 1))
    scaled = ctx.between(y)
    ctx.step("mul_f32", [ctx.use(x), ctx.const(scale.reshape(column))], [scaled])
    ctx.step("add_f32", [scaled, ctx.const(shift.reshape(column))], [ctx.use(y)], epilogue(node))
