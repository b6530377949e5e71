"""QuantizeLinear (quantize_f32, or composed where scales differ along an axis or are computed) and DynamicQuantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dequantize import along, one_grid
from .dtypes import F, require
from .graph import Unsupported, dtype_of, elements, get, shape_of
from .registry import Legal, elementwise, legalises
from .rounding import half_even

RANGES = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "u16": (0, 65535)}
"""Plan dtype → smallest and largest value, of what quantize_f32 writes."""

elementwise("quantize")


@legalises("QuantizeLinear")
def quantize(legal: Legal) -> ir.Value:
    """Internal "quantize" (scale, zero): saturate(round_half_even(x / scale) + zero), NaN → zero."""
    x, y, node = legal.required(0), legal.node.outputs[0], legal.node
    require(x, F)
    if dtype_of(y) not in RANGES:
        raise Unsupported(f"no kernel for {dtype_of(y)}")
    grid = one_grid(legal.required(1), legal.input(2))
    if grid is not None:
        return legal.emit("quantize", [x], shape_of(x), y.dtype, {"scale": grid[0], "zero": grid[1]})
    c, shape, axis, block = Compose(legal), shape_of(x), get(node, "axis", 1), get(node, "block_size", 0)
    zero = legal.input(2)
    scale = along(c, legal.required(1), shape, axis, block)
    return _steps(c, x, scale, None if zero is None else along(c, zero, shape, axis, block), y.dtype)


def _steps(c: Compose, x: ir.Value, scale: ir.Value, zero: ir.Value | None, dtype: ir.DataType | None) -> ir.Value:
    """float32 holds every integer that is not saturated anyway."""
    steps = half_even(c, c.apply("div", x, scale))
    steps = c.apply("where", c.apply("equal", steps, steps), steps, 0.0)
    if zero is not None:
        steps = c.apply("add", steps, c.cast(zero, ir.DataType.FLOAT))
    low, high = RANGES[dtype_of(ir.Value(type=ir.TensorType(dtype)))]  # type: ignore[arg-type]
    return c.cast(c.apply("min", c.apply("max", steps, float(low)), float(high)), dtype)


@legalises("DynamicQuantizeLinear")
def dynamic(legal: Legal) -> Sequence[ir.Value]:
    """A scale and a zero point for uint8 from the smallest and largest element, then QuantizeLinear. All zeros: scale 1."""
    c, x = Compose(legal), legal.required(0)
    require(x, F)
    shape = shape_of(x)
    if not elements(shape):
        raise Unsupported(f"shape {shape}")
    axes = range(len(shape))
    low = c.apply("min", c.reduce("min", x, axes, keepdims=False), 0.0)
    high = c.apply("max", c.reduce("max", x, axes, keepdims=False), 0.0)
    scale = c.apply("div", c.apply("sub", high, low), 255.0)
    scale = c.apply("where", c.apply("equal", scale, 0.0), 1.0, scale)
    level = c.apply("sub", 0.0, c.apply("div", low, scale))
    zero = c.cast(half_even(c, c.apply("min", c.apply("max", level, 0.0), 255.0)), ir.DataType.UINT8)
    return [_steps(c, x, scale, zero, ir.DataType.UINT8), scale, zero]


def quantised(real: np.ndarray, scale: float, zero: int, dtype: str) -> np.ndarray:
    """What quantize_f32 makes of float32 values: int64 within the range of `dtype`."""
    with np.errstate(all="ignore"):
        steps = np.rint(np.asarray(real, np.float32) / np.float32(scale)).astype(np.float64)
    return np.clip(np.where(np.isnan(steps), 0.0, steps) + zero, *RANGES[dtype]).astype(np.int64)
