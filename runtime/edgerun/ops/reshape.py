"""Operators that change the shape and move nothing: Reshape Flatten Squeeze Unsqueeze. They become views (no step)."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from edgerun.errors import ShapeError

from .dtypes import bits
from .graph import shape_of
from .registry import Legal, Lowering, legalises, lowers


@legalises("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(legal: Legal) -> ir.Value:
    x = legal.required(0)
    bits(x)
    before, after = shape_of(x), shape_of(legal.node.outputs[0])
    if prod(before) != prod(after):
        raise ShapeError(f"{legal.node.op_type}, node '{legal.node.name or ''}': expected a shape of {prod(before)} elements for "
                         f"{list(before)}, found {list(after)}")
    return legal.emit("reshape", [x], after, x.dtype)


@lowers("reshape")
def lower(node: ir.Node, ctx: Lowering) -> None:
    """A step is only needed where a view is not allowed (the value is a model output, say): copy the bytes."""
    y = node.outputs[0]
    ctx.step(f"copy_{bits(y)}", [ctx.view(ctx.use(node.inputs[0]), shape_of(y))], [ctx.use(y)])
