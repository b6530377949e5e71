"""Expand to a shape known ahead of time: expand_x8 … x64."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .dtypes import bits
from .graph import shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("Expand")
def expand(legal: Legal) -> ir.Value:
    x, shape = legal.required(0), shape_of(legal.node.outputs[0])
    bits(x)
    return x if shape == shape_of(x) else legal.emit("expand", [x], shape, x.dtype)


@remaps("expand")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]] | None:
    return ({}, perm) if len(shape_of(node.outputs[0])) == len(perm) else None


@lowers("expand")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(f"expand_{bits(y)}", [ctx.use(node.inputs[0])], [ctx.use(y)])
