"""ArgMax, ArgMin: arg_max_f32, arg_min_f32 (→ int64)."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .axes import without
from .dtypes import F, require
from .graph import Unsupported, get, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("ArgMax", "ArgMin")
def arg(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    require(x, F)
    rank = len(shape_of(x))
    if rank == 0:
        raise Unsupported("a scalar has no axis")
    attrs = {
        "axis": get(node, "axis", 0) % rank,
        "select_last": get(node, "select_last_index", 0),
        "keepdims": get(node, "keepdims", 1),
    }
    op = "arg_max" if node.op_type == "ArgMax" else "arg_min"
    return legal.emit(op, [x], shape_of(node.outputs[0]), ir.DataType.INT64, attrs)


@remaps("arg_max", "arg_min")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    axis = perm[get(node, "axis")]
    return {"axis": axis}, perm if get(node, "keepdims") else without(perm, (axis,))


@lowers("arg_max", "arg_min")
def lower(node: ir.Node, ctx: Lowering) -> None:
    attrs = {"axis": (get(node, "axis"),), "select_last": (get(node, "select_last"),)}
    ctx.step(f"{node.op_type}_f32", [ctx.use(node.inputs[0])], [ctx.use(node.outputs[0])], attrs)
