"""float32 → half → float32 between two operators that are computed in float32 anyway becomes nothing.

Only casts that ops/widen.py put in: the model's own stay. What leaves the model is still rounded, once. Activations can then be fused
as in a float32 model, and results are nearer to the real numbers than with every one of them rounded.
"""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import is_op, producer
from edgerun.ops.widen import ROUNDING

from .edit import drop, replace, sweep


def keep_wide(model: ir.Model) -> int:
    """Returns how many pairs of casts are gone."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            front = producer(node.inputs[0]) if _inserted(node) else None
            if front is None or not _inserted(front) or front.inputs[0] is None or front.inputs[0].dtype != node.outputs[0].dtype:
                continue
            replace(node.outputs[0], front.inputs[0])
            drop(node)
            count += 1
    return count and count + sweep(model.graph)


def _inserted(node: ir.Node) -> bool:
    return is_op(node, "cast") and ROUNDING in node.meta
