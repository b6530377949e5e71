"""Scale and shift after a convolution or matrix product fold into its weights and bias: BatchNormalization, Mul, Div,
Add, Sub."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import array_of, constant, get, is_op, operand, producer, shape_of
from edgerun.ops.quantized import Quantized, mark, quantized_of

from .edit import absorb, before, channel_vector, drop, only_use, rebuild, replace

Vector = np.ndarray


def fold_affine(model: ir.Model) -> int:
    """Returns how many nodes were folded."""
    return sum(_fold(node) for graph in model.graphs() for node in list(graph))


def _fold(node: ir.Node) -> int:
    if not is_op(node, "batch_norm", "mul", "div", "add", "sub") or get(node, "activation", 0):
        return 0
    for index in (0, 1):
        front = producer(node.inputs[index])
        if not is_op(front, "conv", "conv_transpose", "matmul"):
            continue
        assert front is not None
        if get(front, "activation", 0) or not only_use(front.outputs[0], node):
            continue
        found = scale_shift(node, index)
        if found is not None and found[0] is not None and operand(front, 3) is not None:
            continue
        new = _apply(front, *found, node.inputs[1 - index]) if found is not None else None
        if new is not None:
            before(node, new)
            absorb(new, node)
            replace(node.outputs[0], new.outputs[0])
            drop(node)
            drop(front)
            return 1
    return 0


def scale_shift(node: ir.Node, index: int) -> tuple[Vector | None, Vector | None] | None:
    """node = operand·scale + shift with per-channel (last axis) constants; None where it is not of that form."""
    shape = shape_of(node.outputs[0])
    if shape_of(node.inputs[index]) != shape:  # type: ignore[arg-type]
        return None
    if node.op_type == "batch_norm":
        if get(node, "axis") != len(shape) - 1:
            return None
        scale, shift = array_of(node.inputs[1]), array_of(node.inputs[2])
        assert scale is not None and shift is not None
        return scale.astype(np.float64), shift.astype(np.float64)
    vector = channel_vector(node.inputs[1 - index], shape)
    if vector is None or (index == 1 and node.op_type in ("sub", "div")):
        return None
    if node.op_type in ("mul", "div"):
        with np.errstate(divide="ignore"):
            return (vector if node.op_type == "mul" else 1.0 / vector), None
    return None, (vector if node.op_type == "add" else -vector)


def _apply(front: ir.Node, scale: Vector | None, shift: Vector | None, other: ir.Value | None) -> ir.Node | None:
    w, bias = array_of(front.inputs[1]), array_of(operand(front, 2))
    if operand(front, 2) is not None and bias is None:
        return None
    weights, changes = front.inputs[1], {}
    if scale is not None and is_op(front, "matmul") and scale.size and np.all(scale == scale[0]):
        changes["alpha"] = float(np.float32(get(front, "alpha") * scale[0]))
    elif scale is not None:
        scaled = None if w is None else _scaled(front, w, scale)
        if scaled is None or weights is None:
            return None
        weights = mark(constant(scaled.astype(np.float32), weights.name), _scaled_integers(front, weights, scale))
    total = np.zeros(shape_of(front.outputs[0])[-1]) if bias is None else bias.astype(np.float64)
    if scale is not None:
        total = total * scale
    if shift is not None:
        total = total + shift
    old = operand(front, 2)
    keep = bias is None and shift is None
    new_bias = None if keep else constant(total.astype(np.float32), old.name if old is not None else None)
    if new_bias is not None and scale is None and bias is None:
        integers = quantized_of(other)
        if integers is not None and integers.values.size == total.size and np.array_equal(integers.real().reshape(-1), total):
            mark(new_bias, integers.reshape(total.shape))
    return rebuild(front, [front.inputs[0], weights, new_bias, *front.inputs[3:]], changes)


def _scaled_integers(front: ir.Node, weights: ir.Value, scale: Vector) -> Quantized | None:
    """The integers of quantised weights stay as they are where only their scales change, and stay positive."""
    q = quantized_of(weights)
    if q is None or not np.all(scale > 0) or is_op(front, "conv_transpose"):
        return None
    factors = _scaled(front, np.ones((1,) * q.values.ndim), scale)
    return None if factors is None else Quantized(q.values, q.scale * factors, q.zero)


def _scaled(front: ir.Node, w: Vector, scale: Vector) -> Vector | None:
    """Weights times the scale of their output channel."""
    if is_op(front, "conv"):
        return w * scale.reshape(-1, *(1,) * (w.ndim - 1))
    if is_op(front, "matmul"):
        if w.ndim != 2:
            return None
        return w * (scale[:, None] if get(front, "trans_b") else scale)
    group = get(front, "group")
    by_input = np.repeat(scale.reshape(group, -1).T, w.shape[-1] // group, axis=1)
    return w * by_input.reshape(w.shape[0], *(1,) * (w.ndim - 2), w.shape[-1])
