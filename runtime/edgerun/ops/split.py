"""Split: split_x8 … x64 (sizes are the outputs')."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from .dtypes import bits
from .graph import get, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("Split")
def split(legal: Legal) -> Sequence[ir.Value]:
    x = legal.required(0)
    bits(x)
    if len(legal.node.outputs) == 1:
        return [x]
    outputs = [(shape_of(y), x.dtype) for y in legal.node.outputs]
    return legal.emit_many("split", [x], outputs, {"axis": get(legal.node, "axis", 0) % len(shape_of(x))})


@remaps("split")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, int], tuple[int, ...]]:
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("split")
def lower(node: ir.Node, ctx: Lowering) -> None:
    ctx.step(
        f"split_{bits(node.outputs[0])}",
        [ctx.use(node.inputs[0])],
        [ctx.use(y) for y in node.outputs],
        {"axis": (get(node, "axis"),)},
    )
