"""Transpose: transpose_x8 … x64."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits
from .graph import get, permuted, shape_of
from .registry import Legal, Lowering, legalises, lowers


@legalises("Transpose")
def transpose(legal: Legal) -> ir.Value:
    x = legal.required(0)
    bits(x)
    shape = shape_of(x)
    perm = tuple(get(legal.node, "perm") or reversed(range(len(shape))))
    return legal.emit("transpose", [x], permuted(shape, perm), x.dtype, {"perm": perm}) if shape else x


@lowers("transpose")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(f"transpose_{bits(y)}", [ctx.use(node.inputs[0])], [ctx.use(y)], {"perm": get(node, "perm")})
