"""Where: elementwise choice, any element type."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import bits
from .graph import shape_of
from .registry import Legal, Lowering, elementwise, legalises, lowers


@legalises("Where")
def where(legal: Legal) -> ir.Value:
    values = [legal.required(k) for k in range(3)]
    bits(values[1])
    return legal.emit("where", values, np.broadcast_shapes(*(shape_of(v) for v in values)), values[1].dtype)


@lowers("where")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(f"where_{bits(node.outputs[0])}", [ctx.use(v) for v in node.inputs], [ctx.use(node.outputs[0])])


elementwise("where")
