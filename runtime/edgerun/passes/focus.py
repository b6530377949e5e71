"""Slices: a slice of a slice is one slice; every second (n-th) pixel stacked as channels ("focus") is one transpose."""

from __future__ import annotations

import itertools

import onnx_ir as ir

from edgerun.ops.graph import channels_last, get, is_op, make, operand, producer, shape_of, sweep

from .edit import absorb, before, drop, replace, set_attrs


def merge_slices(model: ir.Model) -> int:
    """Returns how many slices and stacks were merged."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            if is_op(node, "slice"):
                count += _merge(node)
            elif is_op(node, "transpose"):
                count += _space_to_depth(node)
    sweep(model.graph)
    return count


def _merge(node: ir.Node) -> int:
    front = producer(node.inputs[0])
    if front is None or not is_op(front, "slice"):
        return 0
    outer, inner = (get(front, "starts"), get(front, "steps")), (get(node, "starts"), get(node, "steps"))
    starts = [a + s * b for a, s, b in zip(*outer, inner[0], strict=True)]
    node.replace_input_with(0, front.inputs[0])
    set_attrs(node, {"starts": starts, "steps": [s * t for s, t in zip(outer[1], inner[1], strict=True)]})
    return 1


def _space_to_depth(node: ir.Node) -> int:
    """transpose to channels-last of concat over channels of x[:, :, dh::sh, dw::sw] for all (dh, dw)."""
    stack = producer(node.inputs[0])
    if stack is None or not is_op(stack, "concat") or get(stack, "axis") != 1:
        return 0
    parts = [producer(v) for v in stack.inputs]
    first = parts[0]
    if first is None or not is_op(first, "slice") or tuple(get(node, "perm")) != channels_last(4):
        return 0
    x, steps = first.inputs[0], tuple(get(first, "steps"))
    assert x is not None
    n, c, h, w = shape_of(x)
    sh, sw = steps[2:]
    if (
        steps[:2] != (1, 1)
        or min(sh, sw) < 1
        or h % sh
        or w % sw
        or shape_of(first.outputs[0]) != (n, c, h // sh, w // sw)
    ):
        return 0
    if not all(
        is_op(p, "slice") and operand(p, 0) is x and tuple(get(p, "steps")) == steps for p in parts if p is not None
    ):
        return 0
    if any(p is None or shape_of(p.outputs[0]) != shape_of(first.outputs[0]) for p in parts):
        return 0
    starts = [tuple(get(p, "starts")) for p in parts if p is not None]
    rows_first = [(0, 0, dh, dw) for dh, dw in itertools.product(range(sh), range(sw))]
    columns_first = [(0, 0, dh, dw) for dw, dh in itertools.product(range(sw), range(sh))]
    if starts not in (rows_first, columns_first):
        return 0
    perm, deltas = ((0, 2, 4, 3, 5, 1), (sh, sw)) if starts == rows_first else ((0, 2, 4, 5, 3, 1), (sw, sh))
    dtype = x.dtype
    split = make("reshape", [x], {}, [((n, c, h // sh, sh, w // sw, sw), dtype)], like=stack)
    moved = make(
        "transpose", [before(node, split)], {"perm": perm}, [((n, h // sh, w // sw, *deltas, c), dtype)], like=stack
    )
    joined = make("reshape", [before(node, moved)], {}, [((n, h // sh, w // sw, sh * sw * c), dtype)], like=stack)
    absorb(moved, first)
    replace(node.outputs[0], before(node, joined))
    drop(node)
    return 1
