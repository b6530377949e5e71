"""Constants that DequantizeLinear made remember the integers they were, through transposes and reshapes.

`value.meta["quantized"]` of a float32 constant. Passes that scale or mix constants drop it: the constant is then a plain float
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .graph import Unsupported, array_of, constant, get

_KEY = "quantized"
INTEGERS = frozenset(
    {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT32, ir.DataType.INT4,
     ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2}
)
"""What a quantised constant may hold; those of less than a byte are held as int8 or uint8."""


@dataclass(frozen=True)
class Quantized:
    """real = (values - zero) · scale. scale (float32) and zero (int32) have the rank of `values` and broadcast to it."""

    values: np.ndarray
    scale: np.ndarray
    zero: np.ndarray

    def real(self) -> np.ndarray:
        """The float32 constant it stands for: integers subtracted exactly, one rounded product."""
        wide = np.int64 if self.values.dtype == np.int32 else np.int32
        with np.errstate(all="ignore"):  # scales of a damaged file
            return (self.values.astype(wide) - self.zero).astype(np.float32) * self.scale

    def transpose(self, perm: Sequence[int]) -> Quantized:
        return Quantized(*(part.transpose(perm) for part in (self.values, self.scale, self.zero)))

    def reshape(self, shape: Sequence[int]) -> Quantized:
        """Scales and zero points that differ along an axis are written out along it first."""
        parts = [self.values.reshape(shape)]
        for part in (self.scale, self.zero):
            one = part.size == 1
            parts.append(part.reshape((1,) * len(shape)) if one else _squeezed(np.broadcast_to(part, self.values.shape).reshape(shape)))
        return Quantized(*parts)


def _squeezed(array: np.ndarray) -> np.ndarray:
    """The array with size 1 along every axis on which nothing changes."""
    for axis in range(array.ndim):
        first = array.take([0], axis) if array.shape[axis] else array
        if array.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, array.shape), array):
            array = first
    return array


def quantized_of(value: ir.Value | None) -> Quantized | None:
    """The integers of a constant, None for a value that is not known to have been quantised."""
    return None if value is None else value.meta.get(_KEY)


def mark(value: ir.Value, quantized: Quantized | None) -> ir.Value:
    """Note the integers of a constant; returns it."""
    if quantized is not None:
        value.meta[_KEY] = quantized
    return value


def transposed(value: ir.Value, perm: Sequence[int]) -> ir.Value:
    """A constant with its axes in another order."""
    array, q = array_of(value), quantized_of(value)
    assert array is not None
    return mark(constant(array.transpose(perm), value.name), None if q is None else q.transpose(perm))


def reshaped(value: ir.Value, shape: Sequence[int]) -> ir.Value:
    """A constant with another shape of as many elements."""
    array, q = array_of(value), quantized_of(value)
    assert array is not None
    return mark(constant(array.reshape(tuple(shape)), value.name), None if q is None else q.reshape(tuple(shape)))


def spread(array: np.ndarray, shape: Sequence[int], axis: int, block: int = 0) -> np.ndarray:
    """Scales or zero points as they broadcast to a tensor of `shape`: one for all, one for each index on `axis`, or one for
    each `block` of indices. Raises Unsupported where they do not fit."""
    rank = len(shape)
    if array.size == 1:
        return array.reshape((1,) * rank)
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of shape {tuple(shape)}")
    axis %= rank
    if block and array.ndim == rank:
        array = np.repeat(array, block, axis).take(range(shape[axis]), axis)
    elif not block and array.ndim == 1:
        array = array.reshape(tuple(-1 if d == axis else 1 for d in range(rank)))
    if len(array.shape) != rank or any(n not in (1, shape[d]) for d, n in enumerate(array.shape)):
        raise Unsupported(f"scales of shape {array.shape} for a tensor of shape {tuple(shape)}")
    return array


def integers(value: ir.Value | None) -> np.ndarray | None:
    """The contents of an integer constant in a plain NumPy type; None for anything else."""
    array = array_of(value)
    if array is None or value is None or value.dtype not in INTEGERS:
        return None
    if value.dtype in (ir.DataType.INT4, ir.DataType.INT2):
        return array.astype(np.int8)
    return array.astype(np.uint8) if value.dtype in (ir.DataType.UINT4, ir.DataType.UINT2) else array


def read(node: ir.Node) -> Quantized | None:
    """What an ONNX DequantizeLinear of constants stands for; None where an operand is computed or not float32's. Raises
    Unsupported where scales do not fit."""
    values, scale = integers(node.inputs[0]), array_of(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros((), np.int32) if given is None else integers(given)
    if values is None or scale is None or zero is None or scale.dtype != np.float32 or scale.size == 0:
        return None
    axis, block = get(node, "axis", 1), get(node, "block_size", 0)
    return Quantized(values, spread(scale, values.shape, axis, block), spread(zero.astype(np.int32), values.shape, axis, block))


def carry(node: ir.Node, result: ir.Value) -> None:
    """Note the integers of what an ONNX node with constant operands was folded to, where it only moved them."""
    if node.domain not in ("", "ai.onnx") or result.dtype != ir.DataType.FLOAT:
        return
    try:
        if node.op_type == "DequantizeLinear":
            mark(result, read(node))
            return
    except Unsupported:
        return
    source, array = quantized_of(node.inputs[0] if node.inputs else None), array_of(result)
    if source is None or array is None:
        return
    if node.op_type == "Transpose":
        mark(result, source.transpose(tuple(get(node, "perm") or reversed(range(source.values.ndim)))))
    elif node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"):
        mark(result, source.reshape(array.shape))
