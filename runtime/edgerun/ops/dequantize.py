"""DequantizeLinear: a constant becomes a float32 constant that remembers its integers (quantized.py), a tensor with one scale
dequantize_i8 … i32, any other one elementwise operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import require
from .graph import Unsupported, array_of, constant, elements, get, scalar_of, shape_of
from .quantized import Quantized, integers, mark, read, spread
from .registry import Legal, elementwise, legalises

SOURCES = frozenset({"i8", "u8", "i16", "u16", "i32"})

elementwise("dequantize")


@legalises("DequantizeLinear")
def dequantize(legal: Legal) -> ir.Value:
    """Internal "dequantize" (scale, zero): (float)(x - zero) · scale."""
    x, node = legal.required(0), legal.node
    if node.outputs[0].dtype != ir.DataType.FLOAT:
        raise Unsupported(f"no kernel for a result of {node.outputs[0].dtype}")
    known = read(node)
    if known is not None:
        return real_constant(known, node.outputs[0].name)
    require(x, SOURCES)
    scale, zero = legal.required(1), legal.input(2)
    grid = one_grid(scale, zero)
    if grid is not None:
        return legal.emit("dequantize", [x], shape_of(x), ir.DataType.FLOAT, {"scale": grid[0], "zero": grid[1]})
    c, shape, axis, block = Compose(legal), shape_of(x), get(node, "axis", 1), get(node, "block_size", 0)
    steps = c.cast(x, ir.DataType.FLOAT)
    if zero is not None:
        steps = c.apply("sub", steps, c.cast(along(c, zero, shape, axis, block), ir.DataType.FLOAT))
    return c.apply("mul", steps, along(c, scale, shape, axis, block))


def one_grid(scale: ir.Value, zero: ir.Value | None) -> tuple[float, int] | None:
    """(scale, zero point) that are constant and the same for the whole tensor; None where they are not. Raises Unsupported
    for scales that are no float32."""
    if scale.dtype != ir.DataType.FLOAT:
        raise Unsupported(f"no kernel for scales of {scale.dtype}")
    factor = scalar_of(scale)
    level = 0 if zero is None else integers(zero)
    if factor is None or level is None or np.size(level) != 1:
        return None
    return factor, int(np.reshape(level, -1)[0])


def along(c: Compose, value: ir.Value, shape: Sequence[int], axis: int, block: int) -> ir.Value:
    """Scales or zero points, computed ones too, as they broadcast to a tensor of this shape."""
    array = array_of(value)
    if array is not None:
        return constant(spread(array, shape, axis, block), value.name)
    rank, own = len(shape), shape_of(value)
    if elements(own) == 1:
        return c.reshape(value, (1,) * rank)
    if not -rank <= axis < rank or block:
        raise Unsupported("scales of blocks are not constant" if block else f"axis {axis} of shape {tuple(shape)}")
    if own != (shape[axis],):
        raise Unsupported(f"scales of shape {own} for axis {axis} of shape {tuple(shape)}")
    return c.reshape(value, tuple(shape[axis] if d == axis % rank else 1 for d in range(rank)))


def real_constant(quantized: Quantized, name: str | None) -> ir.Value:
    """The float32 constant that quantised values stand for."""
    return mark(constant(quantized.real(), name), quantized)
