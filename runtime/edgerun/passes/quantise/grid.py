"""The grid of a quantised tensor: real = (integer - zero) · scale, and who is on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import constant, dtype_of, get, is_op, make, producer, shape_of
from edgerun.ops.quantize import RANGES, quantised
from edgerun.ops.quantized import quantized_of

from ..edit import before

BYTES = ("i8", "u8")
NOT_QUANTISED = "its input is not quantised"
"""A refusal that `reasons` says more about."""


@dataclass(frozen=True)
class Grid:
    """Scale, zero point and dtype ("i8", "u8", …) of a tensor of integers."""

    scale: float
    zero: int
    dtype: str

    @property
    def low(self) -> int:
        return RANGES[self.dtype][0]

    @property
    def high(self) -> int:
        return RANGES[self.dtype][1]

    @property
    def reach(self) -> int:
        """The largest |integer - zero|."""
        return max(abs(self.low - self.zero), abs(self.high - self.zero))

    def integers(self, real: Any) -> np.ndarray:
        """What quantize_f32 makes of real numbers, int64."""
        return quantised(np.asarray(real), self.scale, self.zero, self.dtype)

    def real(self, integers: np.ndarray) -> np.ndarray:
        """What dequantize makes of integers, float32."""
        with np.errstate(all="ignore"):
            return (integers.astype(np.int64) - self.zero).astype(np.float32) * np.float32(self.scale)

    def attributes(self) -> dict[str, float | int]:
        return {"scale": self.scale, "zero": self.zero}


def grid_of(node: ir.Node) -> Grid:
    """Of a "quantize" (its result) or "dequantize" (its operand)."""
    value = node.outputs[0] if is_op(node, "quantize") else node.inputs[0]
    return Grid(get(node, "scale"), get(node, "zero"), dtype_of(value))  # type: ignore[arg-type]


def on_grid(value: ir.Value | None) -> tuple[ir.Value, Grid] | None:
    """(integers, grid) of a float value that "dequantize" makes of bytes, or of a constant that was quantised as bytes with
    one scale; None for any other value."""
    node = producer(value)
    if node is not None and is_op(node, "dequantize") and node.inputs[0] is not None:
        return (node.inputs[0], grid_of(node)) if dtype_of(node.inputs[0]) in BYTES else None
    q = quantized_of(value)
    if q is None or value is None or q.scale.size != 1 or q.zero.size != 1 or q.values.dtype not in (np.int8, np.uint8):
        return None
    grid = Grid(float(q.scale.reshape(-1)[0]), int(q.zero.reshape(-1)[0]), "i8" if q.values.dtype == np.int8 else "u8")
    return constant(q.values, value.name), grid


def dequantize(integers: ir.Value, grid: Grid, place: ir.Node, like: ir.Node) -> ir.Value:
    """A new "dequantize" of these integers in front of `place`."""
    return _insert("dequantize", integers, grid, ir.DataType.FLOAT, place, like)


def quantize(real: ir.Value, grid: Grid, dtype: ir.DataType | None, place: ir.Node, like: ir.Node) -> ir.Value:
    """A new "quantize" of this float value in front of `place`; a constant is quantised now."""
    known = real.const_value
    if known is not None:
        assert dtype is not None
        return constant(grid.integers(known.numpy()).astype(dtype.numpy()), real.name)
    return _insert("quantize", real, grid, dtype, place, like)


def _insert(op: str, x: ir.Value, grid: Grid, dtype: ir.DataType | None, place: ir.Node, like: ir.Node) -> ir.Value:
    return before(place, make(op, [x], grid.attributes(), [(shape_of(x), dtype)], like=like))


def users(value: ir.Value) -> Sequence[ir.Node]:
    return [use.node for use in value.uses()]
