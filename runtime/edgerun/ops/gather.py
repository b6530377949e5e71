"""Gather along one axis: gather_x8 … x64. A constant scalar index is a slice."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .dtypes import bits, require
from .graph import get, scalar_of, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("Gather")
def gather(legal: Legal) -> ir.Value:
    x, indices = legal.required(0), legal.required(1)
    bits(x)
    require(indices, frozenset({"i32", "i64"}))
    shape = shape_of(x)
    axis = get(legal.node, "axis", 0) % len(shape)
    out = (*shape[:axis], *shape_of(indices), *shape[axis + 1 :])
    index = scalar_of(indices)
    if index is not None and -shape[axis] <= index < shape[axis]:
        starts = [0] * len(shape)
        starts[axis] = int(index) % shape[axis]
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
        part = legal.emit("slice", [x], kept, x.dtype, {"starts": starts, "steps": [1] * len(shape)})
        return legal.emit("reshape", [part], out, x.dtype)
    return legal.emit("gather", [x, indices], out, x.dtype, {"axis": axis})


@remaps("gather")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]] | None:
    if len(shape_of(node.inputs[1])) != 1:  # type: ignore[arg-type]
        return None
    return {"axis": perm[get(node, "axis")]}, perm


@lowers("gather")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(f"gather_{bits(y)}", [ctx.use(v) for v in node.inputs], [ctx.use(y)], {"axis": (get(node, "axis"),)})
