"""conv(x) + r and matmul(a, b) + r become one kernel call: y = act(conv + bias + r), r of the result's shape."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import get, is_op, operand, producer, shape_of

from .edit import absorb, before, drop, only_use, rebuild, replace


def fuse_residuals(model: ir.Model) -> int:
    """Returns how many additions were fused. The convolution moves to where the addition was, so `r` is there before
    it."""
    count = 0
    for graph in model.graphs():
        position = {node: k for k, node in enumerate(graph)}
        for node in list(graph):
            if is_op(node, "add") and not get(node, "activation", 0):
                count += _fuse(node, position)
    return count


def _fuse(node: ir.Node, position: dict[ir.Node, int]) -> int:
    shape = shape_of(node.outputs[0])
    if node.inputs[0] is node.inputs[1] or any(v is None or shape_of(v) != shape for v in node.inputs):
        return 0
    fronts = [
        (position.get(front, -1), k, front)
        for k in (0, 1)
        if (front := producer(node.inputs[k])) is not None and _takes(front, node)
    ]
    if not fronts:
        return 0
    _, k, front = max(fronts, key=lambda f: f[:2])
    inputs = [operand(front, i) for i in range(3)] + [node.inputs[1 - k]]
    new = rebuild(front, inputs, {})
    before(node, new)
    absorb(new, node)
    position[new] = position[node]
    replace(node.outputs[0], new.outputs[0])
    drop(node)
    drop(front)
    return 1


def _takes(front: ir.Node, node: ir.Node) -> bool:
    return (
        is_op(front, "conv", "matmul")
        and not get(front, "activation", 0)
        and operand(front, 3) is None
        and only_use(front.outputs[0], node)
    )
