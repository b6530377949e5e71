"""Lowerings of the internal "qadd", "qmul" (two operands, broadcast) and "lut" (a table of 256 entries); see docs/int8.md."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits
from .registry import Lowering, elementwise, lowers

elementwise("qadd", "qmul")


@lowers("lut")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(f"lut_{bits(node.outputs[0])}", [ctx.use(v) for v in node.inputs], [ctx.use(v) for v in node.outputs])


elementwise("lut")
