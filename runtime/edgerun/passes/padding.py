"""A zero Pad in front of Conv or AveragePool (-inf, or zero on non-negative data, for MaxPool) becomes the window's
own padding."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgerun.ops.activation import code_of
from edgerun.ops.graph import dtype_of, get, is_op, operand, producer, scalar_of

from .edit import absorb, before, drop, only_use, rebuild, replace


def fold_padding(model: ir.Model) -> int:
    """Returns how many pads were folded."""
    return sum(
        _fold(node)
        for graph in model.graphs()
        for node in list(graph)
        if is_op(node, "conv", "max_pool", "average_pool", "qconv", "qaverage_pool")
    )


def _fold(node: ir.Node) -> int:
    pad = producer(node.inputs[0])
    if not is_op(pad, "pad") or pad is None or get(pad, "mode") != 0 or not only_use(pad.outputs[0], node):
        return 0
    pads = tuple(get(pad, "pads"))
    rank = len(pads) // 2
    spatial = (*pads[1 : rank - 1], *pads[rank + 1 : -1])
    if min(pads) < 0 or pads[0] or pads[rank - 1] or pads[rank] or pads[-1]:
        return 0
    value = 0.0 if operand(pad, 1) is None else scalar_of(operand(pad, 1))
    own = tuple(get(node, "pads"))
    changes: dict[str, object] = {"pads": tuple(a + b for a, b in zip(own, spatial, strict=True))}
    if is_op(node, "max_pool"):
        if not ((value is not None and value <= _lowest(pad)) or (value == 0.0 and _non_negative(pad.inputs[0]))):
            return 0
    elif value != get(node, "x_zero", 0.0):
        return 0
    elif is_op(node, "average_pool", "qaverage_pool"):
        if any(own) and not get(node, "count_include_pad"):
            return 0
        changes["count_include_pad"] = 1
    new = rebuild(node, [pad.inputs[0], *node.inputs[1:]], changes)
    before(node, new)
    absorb(new, pad)
    replace(node.outputs[0], new.outputs[0])
    drop(node)
    drop(pad)
    return 1


def _lowest(pad: ir.Node) -> float:
    """What no element of the padded tensor is below."""
    return {"i8": -128.0, "u8": 0.0}.get(dtype_of(pad.outputs[0]), -3.4e38)


def _non_negative(value: ir.Value | None) -> bool:
    """Whether an activation guarantees values ≥ 0 (every window then still holds one real element ≥ the padding)."""
    node = producer(value)
    if node is None:
        return False
    code, lo = get(node, "activation", 0), get(node, "act_alpha", -math.inf)
    own = code_of(node)
    if own is not None:
        code, lo = own[0], own[1]
    return code in (1, 4, 6) or (code == 2 and lo >= 0)
