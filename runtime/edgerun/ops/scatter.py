"""ScatterElements, ScatterND and the old Scatter: scatter_elements_…, scatter_nd_… by element size, or by dtype with a reduction."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits, require
from .gather_elements import INDICES
from .graph import Unsupported, attributes, dtype_of, get, shape_of
from .registry import Legal, Lowering, legalises, lowers

_REDUCTIONS = ("none", "add", "mul", "min", "max")


@legalises("Scatter", "ScatterElements", "ScatterND")
def scatter(legal: Legal) -> ir.Value:
    x, indices, updates, node = legal.required(0), legal.required(1), legal.required(2), legal.node
    bits(x)
    require(indices, INDICES)
    reduction = get(node, "reduction", "none")
    if reduction not in _REDUCTIONS:
        raise Unsupported(f"reduction {reduction}")
    if reduction != "none":
        require(x, frozenset({"f32", "i32", "i64"}))
    attrs = {"reduction": _REDUCTIONS.index(reduction)}
    if node.op_type != "ScatterND":
        if not shape_of(x):
            raise Unsupported("a scalar has no axis")
        attrs["axis"] = get(node, "axis", 0) % len(shape_of(x))
    op = "scatter_nd" if node.op_type == "ScatterND" else "scatter_elements"
    return legal.emit(op, [x, indices, updates], shape_of(x), x.dtype, attrs)


@lowers("scatter_elements", "scatter_nd")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    suffix = dtype_of(y) if get(node, "reduction") else bits(y)
    attrs = {k: (v,) for k, v in attributes(node).items()}
    ctx.step(f"{node.op_type}_{suffix}", [ctx.use(v) for v in node.inputs], [ctx.use(y)], attrs)
