"""Graph surgery that the passes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import array_of, attribute, is_op, make, origin, shape_of, sweep

__all__ = ["absorb", "before", "channel_vector", "drop", "only_use", "rebuild", "replace", "set_attrs", "sweep"]


def replace(old: ir.Value, new: ir.Value) -> None:
    """All uses of `old`, graph outputs included, become uses of `new`.

    The model's own names (marked by `legalize`) pass on to what is computed instead, also through changes of layout.
    """
    value: ir.Value | None = new if old.name and old.meta.get("given") else None
    while value is not None and value.producer() is not None and not value.meta.get("given"):
        value.name, value.meta["given"] = old.name, True
        node = value.producer()
        value = node.inputs[0] if is_op(node, "transpose", "reshape") and node is not None else None
    old.replace_all_uses_with(_own_result(old, new), replace_graph_outputs=True)


def forwards(old: ir.Value, new: ir.Value) -> bool:
    """Whether `old` is the result of an If's branch and `new` comes from outside of that branch."""
    node, source = old.producer(), new.producer()
    home = source.graph if source is not None else new.graph
    return old.is_graph_output() and node is not None and home is not None and home is not node.graph


def _own_result(old: ir.Value, new: ir.Value) -> ir.Value:
    """`new`, or a copy of it: a value is an output of its own graph only."""
    node = old.producer()
    if node is None or not forwards(old, new):
        return new
    return before(node, make("reshape", [new], {}, [(shape_of(old), old.dtype)], like=node))


def drop(node: ir.Node) -> None:
    """Remove a node whose outputs nobody uses."""
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def before(node: ir.Node, new: ir.Node) -> ir.Value:
    """Insert `new` in front of `node` and return its first output."""
    assert node.graph is not None
    node.graph.insert_before(node, new)
    return new.outputs[0]


def rebuild(
    node: ir.Node,
    inputs: Sequence[ir.Value | None],
    changes: Mapping[str, Any],
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> ir.Node:
    """A copy of an internal node with other inputs, some other attributes and, if given, other output shapes."""
    attrs = {name: attr.value for name, attr in node.attributes.items()} | dict(changes)
    outputs = [(shapes[k] if shapes else shape_of(v), v.dtype) for k, v in enumerate(node.outputs)]
    new = make(node.op_type, inputs, attrs, outputs, like=node)
    if "int8" in node.meta:
        new.meta["int8"] = node.meta["int8"]
    return new


def set_attrs(node: ir.Node, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        node.attributes[name] = attribute(name, value)


def only_use(value: ir.Value, user: ir.Node) -> bool:
    """Whether `user`, in the same graph, is the one node that reads the value (possibly twice), and the value is no
    output."""
    node = value.producer()
    return (
        node is not None
        and node.graph is user.graph
        and not value.is_graph_output()
        and all(use.node is user for use in value.uses())
    )


def absorb(keeper: ir.Node, other: ir.Node) -> None:
    """Note in `keeper` that it now also does what `other` did."""
    (name, op), (other_name, other_op) = origin(keeper), origin(other)
    keeper.meta["node"] = name
    keeper.meta["op"] = op if (name, op) == (other_name, other_op) else f"{op}+{other_op}"  # one Gemm makes two nodes


def channel_vector(value: ir.Value | None, shape: Sequence[int]) -> np.ndarray | None:
    """A constant that only varies along the last axis of `shape`, as a float64 vector of that length; else None."""
    array = array_of(value)
    if array is None or array.ndim > len(shape) or not shape:
        return None
    if array.size == 1:
        return np.full(shape[-1], float(array.reshape(-1)[0]))
    if array.size == array.shape[-1] == shape[-1]:
        return array.reshape(-1).astype(np.float64)
    return None
