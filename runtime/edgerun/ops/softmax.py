"""Softmax, LogSoftmax: softmax_f32, log_softmax_f32. Before opset 13 all axes from `axis` on count as one."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, elements, get, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps

OPS = ("softmax", "log_softmax")


@legalises("Softmax", "LogSoftmax")
def softmax(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    require(x, F)
    op = "softmax" if node.op_type == "Softmax" else "log_softmax"
    shape = shape_of(x)
    if not shape:
        raise Unsupported("a scalar has no axis")
    if legal.opset >= 13:
        return legal.emit(op, [x], shape, x.dtype, {"axis": get(node, "axis", -1) % len(shape)})
    axis = get(node, "axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    significant = [d for d in range(axis, len(shape)) if shape[d] != 1]
    if len(significant) <= 1 and axis < len(shape):
        return legal.emit(op, [x], shape, x.dtype, {"axis": significant[0] if significant else len(shape) - 1})
    flat = (elements(shape[:axis]), elements(shape[axis:]))
    rows = legal.emit("reshape", [x], flat, x.dtype)
    result = legal.emit(op, [rows], flat, x.dtype, {"axis": 1})
    return legal.emit("reshape", [result], shape, x.dtype)


@remaps(*OPS)
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers(*OPS)
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(
        f"{node.op_type}_f32", [ctx.use(node.inputs[0])], [ctx.use(node.outputs[0])], {"axis": (get(node, "axis"),)}
    )
