"""Slice: slice_x8 … x64 with a start and a step per dimension."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .axes import ints_input
from .dtypes import bits
from .graph import Unsupported, get, inverse, permuted, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps


@legalises("Slice")
def slice_(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    bits(x)
    shape = shape_of(x)
    if legal.opset < 10:
        starts, ends, axes, steps = get(node, "starts"), get(node, "ends"), get(node, "axes"), None
    else:
        starts, ends = ints_input(legal, 1, "starts"), ints_input(legal, 2, "ends")
        axes, steps = ints_input(legal, 3, "axes"), ints_input(legal, 4, "steps")
    if starts is None or ends is None:
        raise Unsupported("starts or ends are absent")
    begin, stride, size = [0] * len(shape), [1] * len(shape), list(shape)
    for k, start in enumerate(starts):
        axis = (axes[k] if axes is not None else k) % len(shape)
        step = steps[k] if steps is not None else 1
        if step == 0:
            raise Unsupported("step 0")
        first, last, step = slice(start, _end(ends[k], step), step).indices(shape[axis])
        begin[axis], stride[axis], size[axis] = first, step, len(range(first, last, step))
    if tuple(size) == shape and all(s == 1 for s in stride):
        return x
    begin = [b if n else 0 for b, n in zip(begin, size, strict=True)]
    return legal.emit("slice", [x], size, x.dtype, {"starts": begin, "steps": stride})


def _end(end: int, step: int) -> int | None:
    """Python's slice wants None for "beyond the first element" when it walks backwards; ONNX uses very small
    numbers."""
    return None if step < 0 and end < -(2**31) + 2 else end


@remaps("slice")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    back = inverse(perm)
    return {"starts": permuted(get(node, "starts"), back), "steps": permuted(get(node, "steps"), back)}, perm


@lowers("slice")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(
        f"slice_{bits(y)}",
        [ctx.use(node.inputs[0])],
        [ctx.use(y)],
        {"starts": get(node, "starts"), "steps": get(node, "steps")},
    )
