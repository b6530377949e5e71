"""max_pool → relu becomes relu → max_pool where the convolution before the pool can then apply the relu itself."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import get, is_op, producer, shape_of

from .edit import before, drop, only_use, rebuild, replace

_MONOTONE = ("relu", "clip")


def hoist_activations(model: ir.Model) -> int:
    """Returns how many activations moved in front of their pool. Taking a maximum and a non-decreasing function
    commute."""
    return sum(_hoist(node) for graph in model.graphs() for node in list(graph) if is_op(node, *_MONOTONE))


def _hoist(node: ir.Node) -> int:
    pool = producer(node.inputs[0])
    if pool is None or not is_op(pool, "max_pool") or not only_use(pool.outputs[0], node):
        return 0
    front = producer(pool.inputs[0])
    if (
        front is None
        or not is_op(front, "conv", "conv_transpose", "batch_norm", "add")
        or not only_use(front.outputs[0], pool)
    ):
        return 0
    if get(front, "activation", 0):
        return 0
    x = front.outputs[0]
    early = rebuild(node, [x], {}, [shape_of(x)])
    new = rebuild(pool, [before(node, early)], {})
    replace(node.outputs[0], before(node, new))
    drop(node)
    drop(pool)
    return 1
