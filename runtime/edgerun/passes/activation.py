"""An activation becomes the last pass of the kernel that produces its operand."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.activation import code_of
from edgerun.ops.graph import dtype_of, get, is_op, producer, shape_of

from .edit import absorb, drop, only_use, replace, set_attrs

_PRODUCERS = ("conv", "conv_transpose", "matmul", "add", "sub", "mul", "div", "min", "max", "batch_norm")


def fuse_activations(model: ir.Model) -> int:
    """Returns how many activations were fused."""
    return sum(_fuse(node) for graph in model.graphs() for node in list(graph))


def _fuse(node: ir.Node) -> int:
    code = code_of(node)
    front = producer(node.inputs[0]) if code is not None else None
    if code is None or front is None or not is_op(front, *_PRODUCERS) or get(front, "activation", 0):
        return 0
    if dtype_of(front.outputs[0]) != "f32" or not only_use(front.outputs[0], node):
        return 0
    if is_op(front, "batch_norm") and get(front, "axis") != len(shape_of(front.outputs[0])) - 1:
        return 0
    set_attrs(front, {"activation": code[0], "act_alpha": code[1], "act_beta": code[2]})
    absorb(front, node)
    if node.outputs[0].name and node.outputs[0].meta.get("given"):  # that is what it computes now
        front.outputs[0].name, front.outputs[0].meta["given"] = node.outputs[0].name, True
    replace(node.outputs[0], front.outputs[0])
    drop(node)
    return 1
