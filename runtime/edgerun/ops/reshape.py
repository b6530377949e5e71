"""Operators that change the shape and move nothing: Reshape Flatten Squeeze Unsqueeze. They become views (no step)."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits
from .graph import shape_of
from .registry import Legal, Lowering, legalises, lowers


@legalises("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(legal: Legal) -> ir.Value:
    x = legal.required(0)
    bits(x)
    return legal.emit("reshape", [x], shape_of(legal.node.outputs[0]), x.dtype)


@lowers("reshape")
def lower(node: ir.Node, ctx: Lowering) -> None:
    """A step is only needed where a view is not allowed (the value is a model output, say): copy the bytes."""
    y = node.outputs[0]
    ctx.step(f"copy_{bits(y)}", [ctx.view(ctx.use(node.inputs[0]), shape_of(y))], [ctx.use(y)])
