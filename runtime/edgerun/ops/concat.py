"""Concat: concat_x8 … x64."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import bits
from .graph import elements, get, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("Concat")
def concat(legal: Legal) -> ir.Value:
    values = [legal.required(k) for k in range(len(legal.node.inputs))]
    bits(values[0])
    shape = list(shape_of(values[0]))
    axis = get(legal.node, "axis", 1) % len(shape)
    shape[axis] = sum(shape_of(v)[axis] for v in values)
    values = [v for v in values if elements(shape_of(v))] or values
    return values[0] if shape_of(values[0]) == tuple(shape) else legal.emit("concat", values, shape, values[0].dtype, {"axis": axis})


@remaps("concat")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, int], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("concat")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(f"concat_{bits(y)}", [ctx.use(v) for v in node.inputs], [ctx.use(y)], {"axis": (get(node, "axis"),)})
