"""TopK of a constant K: top_k_f32 f64 i32 i64. The answer is sorted whether asked for or not."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from .dtypes import require
from .graph import Unsupported, attributes, dtype_of, get, scalar_of, shape_of
from .registry import Legal, Lowering, legalises, lowers


@legalises("TopK")
def top_k(legal: Legal) -> Sequence[ir.Value]:
    x, node = legal.required(0), legal.node
    require(x, frozenset({"f32", "f64", "i32", "i64"}))
    count = get(node, "k") if legal.opset < 10 else scalar_of(legal.required(1))
    if count is None:
        raise Unsupported("K is not constant")
    shape = list(shape_of(x))
    if not shape:
        raise Unsupported("a scalar has no axis")
    axis = get(node, "axis", -1) % len(shape)
    if not 0 <= count <= shape[axis]:
        raise Unsupported(f"K of {count:g} along a dimension of {shape[axis]}")
    shape[axis] = int(count)
    outputs = [(tuple(shape), x.dtype), (tuple(shape), ir.DataType.INT64)]
    return legal.emit_many("top_k", [x], outputs, {"axis": axis, "largest": get(node, "largest", 1)})[: len(node.outputs)]


@lowers("top_k")
def lower(node: ir.Node, ctx: Lowering) -> None:
    attrs = {k: (v,) for k, v in attributes(node).items()}
    kernel = f"top_k_{dtype_of(node.outputs[0])}"
    ctx.step(kernel, [ctx.use(node.inputs[0])], [ctx.use(v) for v in node.outputs], attrs)
