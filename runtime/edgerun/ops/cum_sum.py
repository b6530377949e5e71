"""CumSum along an axis known ahead of time: cum_sum_f32 f64 i32 i64."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .dtypes import require
from .graph import Unsupported, attributes, dtype_of, get, scalar_of, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("CumSum")
def cum_sum(legal: Legal) -> ir.Value:
    x, axis, node = legal.required(0), scalar_of(legal.required(1)), legal.node
    require(x, frozenset({"f32", "f64", "i32", "i64"}))
    if axis is None:
        raise Unsupported("the axis is not constant")
    rank = len(shape_of(x))
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis:g} of {rank} dimensions")
    attrs = {"axis": int(axis) % rank, "exclusive": get(node, "exclusive", 0), "reverse": get(node, "reverse", 0)}
    return legal.emit("cum_sum", [x], shape_of(x), x.dtype, attrs)


@remaps("cum_sum")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("cum_sum")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    attrs = {k: (v,) for k, v in attributes(node).items()}
    ctx.step(f"cum_sum_{dtype_of(y)}", [ctx.use(node.inputs[0])], [ctx.use(y)], attrs)
