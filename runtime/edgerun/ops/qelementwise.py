"""Lowerings of the internal "qadd", "qmul" (two operands, broadcast), "lut" (a table of 256 entries) and "lut_add" (the sum of
tables); see docs/int8.md."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits
from .registry import Lowering, elementwise, lowers

elementwise("qadd", "qmul")


@lowers("lut")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(f"lut_{bits(node.outputs[0])}", [ctx.use(v) for v in node.inputs], [ctx.use(v) for v in node.outputs])


elementwise("lut")


@lowers("lut_add")
def lower_sum(node: ir.Node, ctx: Lowering) -> None:
    attrs = {name: attr.value for name, attr in node.attributes.items()}
    ctx.step("lut_add_x8", [ctx.use(v) for v in node.inputs], [ctx.use(v) for v in node.outputs], attrs)
