"""GatherElements and GatherND: gather_elements_x8 … x64, gather_nd_x8 … x64."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits, require
from .graph import Unsupported, attributes, get, shape_of
from .registry import Legal, Lowering, legalises, lowers

INDICES = frozenset({"i32", "i64"})


@legalises("GatherElements")
def gather_elements(legal: Legal) -> ir.Value:
    x, indices = legal.required(0), legal.required(1)
    bits(x)
    require(indices, INDICES)
    if not shape_of(x):
        raise Unsupported("a scalar has no axis")
    axis = get(legal.node, "axis", 0) % len(shape_of(x))
    return legal.emit("gather_elements", [x, indices], shape_of(indices), x.dtype, {"axis": axis})


@legalises("GatherND")
def gather_nd(legal: Legal) -> ir.Value:
    x, indices = legal.required(0), legal.required(1)
    bits(x)
    require(indices, INDICES)
    batch, of_x, of_indices = get(legal.node, "batch_dims", 0), shape_of(x), shape_of(indices)
    shape = (*of_indices[:-1], *of_x[batch + of_indices[-1] :])
    return legal.emit("gather_nd", [x, indices], shape, x.dtype, {"batch_dims": batch})


@lowers("gather_elements", "gather_nd")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    attrs = {k: (v,) for k, v in attributes(node).items()}
    ctx.step(f"{node.op_type}_{bits(y)}", [ctx.use(v) for v in node.inputs], [ctx.use(y)], attrs)
