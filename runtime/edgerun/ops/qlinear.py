"""QLinearConv and QLinearMatMul: dequantised, the float operator, quantised. The pass `quantise` makes one int8 kernel of it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .conv import emit_conv
from .dequantize import SOURCES, one_grid, real_constant
from .dtypes import require
from .graph import Unsupported, array_of, dtype_of, shape_of
from .matmul import emit_matmul
from .quantize import RANGES
from .quantized import Quantized, integers, spread
from .registry import Legal, legalises

_FLOAT = ir.DataType.FLOAT


@legalises("QLinearConv")
def qlinear_conv(legal: Legal) -> ir.Value:
    """x scale zero, w scale zero (one each, or one an output channel), scale zero of y, bias in steps of both scales' product."""
    y = legal.node.outputs[0]
    values, w_scale, w_zero = integers(legal.input(3)), _scales(legal, 4), integers(legal.input(5))
    if values is None or w_zero is None:
        raise Unsupported("weights or their zero points are not constant")
    w = Quantized(values, spread(w_scale, values.shape, 0), spread(w_zero.astype(np.int32), values.shape, 0))
    bias = None
    if legal.input(8) is not None:
        steps = integers(legal.input(8))
        if steps is None:
            raise Unsupported("bias is not constant")
        scale = np.float32(_grid(legal, 1)[0]) * spread(w_scale, steps.shape, 0)
        bias = real_constant(Quantized(steps, scale, np.zeros((1,), np.int32)), legal.input(8).name)  # type: ignore[union-attr]
    real = ir.Value(shape=y.shape, type=ir.TensorType(_FLOAT))
    return _leave(legal, emit_conv(legal, _enter(legal, 0), real_constant(w, legal.input(3).name), bias, real), 6)  # type: ignore[union-attr]


@legalises("QLinearMatMul")
def qlinear_matmul(legal: Legal) -> ir.Value:
    """a scale zero, b scale zero, scale zero of y; a constant b may have a scale for each column."""
    values = integers(legal.input(3))
    if values is None:
        b = _enter(legal, 3)
    else:
        zero = integers(legal.input(5))
        if zero is None:
            raise Unsupported("zero point is not constant")
        parts = [_columns(part, values.ndim) for part in (_scales(legal, 4), zero.astype(np.int32))]
        b = real_constant(Quantized(values, *parts), legal.input(3).name)  # type: ignore[union-attr]
    a = _enter(legal, 0)
    return _leave(legal, emit_matmul(legal, a, b, "matmul", {"trans_a": 0, "trans_b": 0, "alpha": 1.0}, _FLOAT), 6)


def _columns(array: np.ndarray, rank: int) -> np.ndarray:
    """One for all, one for each column as [N], or as the standard has it for stacks of matrices: […, 1, N]."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape) if array.ndim < rank else array


def _scales(legal: Legal, index: int) -> np.ndarray:
    array = array_of(legal.input(index))
    if array is None:
        raise Unsupported("scale is not constant")
    return array.astype(np.float32)  # float16 is exact in it


def _grid(legal: Legal, index: int) -> tuple[float, int]:
    """Scale (input `index`) and zero point of a whole tensor."""
    scale, grid = _scales(legal, index), None
    if scale.size == 1:
        grid = one_grid(ir.Value(type=ir.TensorType(_FLOAT), const_value=ir.Tensor(scale)), legal.required(index + 1))
    if grid is None:
        raise Unsupported("scale or zero point is not one constant for the whole tensor")
    return grid


def _enter(legal: Legal, index: int) -> ir.Value:
    x = legal.required(index)
    require(x, SOURCES)
    scale, zero = _grid(legal, index + 1)
    return legal.emit("dequantize", [x], shape_of(x), _FLOAT, {"scale": scale, "zero": zero})


def _leave(legal: Legal, real: ir.Value, index: int) -> ir.Value:
    y, (scale, zero) = legal.node.outputs[0], _grid(legal, index)
    if dtype_of(y) not in RANGES:
        raise Unsupported(f"no kernel for {dtype_of(y)}")
    return legal.emit("quantize", [real], shape_of(real), y.dtype, {"scale": scale, "zero": zero})
