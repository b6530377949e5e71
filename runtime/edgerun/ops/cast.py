"""Cast between plain element types (C semantics, float to integer saturates)."""

from __future__ import annotations

import onnx_ir as ir

from .graph import dtype_of, get, shape_of
from .registry import Legal, Lowering, elementwise, legalises, lowers


@legalises("Cast", "CastLike")
def cast(legal: Legal) -> ir.Value:
    x = legal.required(0)
    target = legal.required(1).dtype if legal.node.op_type == "CastLike" else ir.DataType(get(legal.node, "to"))
    dtype_of(x), dtype_of(ir.Value(type=ir.TensorType(target)))  # type: ignore[arg-type]
    return x if x.dtype == target else legal.emit("cast", [x], shape_of(x), target)


@lowers("cast")
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    ctx.step(f"cast_{dtype_of(x)}_{dtype_of(y)}", [ctx.use(x)], [ctx.use(y)])


elementwise("cast")
