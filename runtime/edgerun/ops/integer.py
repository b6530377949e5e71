"""ConvInteger and MatMulInteger: qconv2d and qmatmul without rescaling, int32 out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import require
from .graph import Unsupported, array_of, channels_last, constant, get, shape_of
from .matmul import emit_matmul
from .quantized import integers
from .registry import Legal, legalises
from .window import fit_weights, geometry, sandwich

BYTES = frozenset({"i8", "u8"})
_LARGEST = 2**31 - 1


@legalises("ConvInteger")
def conv_integer(legal: Legal) -> ir.Value:
    x, y = legal.required(0), legal.node.outputs[0]
    require(x, BYTES)
    values, zero = integers(legal.input(1)), _zeros(legal, 3)
    if values is None or zero is None:
        raise Unsupported("weights or their zero points are not constant")
    zero = zero.reshape(-1, *(1,) * (values.ndim - 1)) if zero.size > 1 else zero.reshape(-1)
    w = weights(values, zero, tuple(range(1, values.ndim)))
    kernel = constant(w.transpose(channels_last(w.ndim)), legal.required(1).name)
    fit_weights(legal.node, shape_of(x)[1], values.shape, values.shape[1] * get(legal.node, "group", 1))
    attrs = geometry(legal.node, values.shape[2:], shape_of(x)[2:], shape_of(y)[2:])
    return sandwich(legal, "qconv", x, [kernel, None, None], y, {**attrs, "group": get(legal.node, "group", 1), "x_zero": _zero(legal, 2)})


@legalises("MatMulInteger")
def matmul_integer(legal: Legal) -> ir.Value:
    a, b = legal.required(0), legal.required(1)
    require(a, BYTES)
    values, zero = integers(b), _zeros(legal, 3)
    if values is not None and values.ndim <= 2 and zero is not None:
        if zero.size > 1 and zero.shape[-1] != values.shape[-1]:
            raise Unsupported(f"zero points of shape {zero.shape}")
        b = constant(weights(values, zero.reshape(-1), (0,)), b.name)
        attrs: dict[str, int | float] = {"a_zero": _zero(legal, 2), "b_zero": 0}
    else:
        require(b, BYTES)
        attrs = {"a_zero": _zero(legal, 2), "b_zero": _zero(legal, 3)}
    return emit_matmul(legal, a, b, "qmatmul", attrs, ir.DataType.INT32)


def weights(values: np.ndarray, zero: np.ndarray, summed: tuple[int, ...]) -> np.ndarray:
    """values - zero as int8, or as int16 where that is too small. Raises Unsupported where a sum over the axes `summed`,
    times the largest byte, could overflow int32."""
    w = values.astype(np.int32) - zero
    if w.size and 255 * int(np.abs(w).sum(summed, np.int64).max()) > _LARGEST:
        raise Unsupported("a sum of products could overflow 32 bits")
    return w.astype(np.int8 if w.size == 0 or (w.min() >= -128 and w.max() <= 127) else np.int16)


def _zeros(legal: Legal, index: int) -> np.ndarray | None:
    """Constant zero points as int32, 0 where they are absent; None where they are computed."""
    value = legal.input(index)
    array = np.zeros(1, np.int32) if value is None else array_of(value)
    return None if array is None else array.astype(np.int32)


def _zero(legal: Legal, index: int) -> int:
    array = _zeros(legal, index)
    if array is None or array.size != 1:
        raise Unsupported("the zero point is not one constant for the whole tensor")
    return int(array.reshape(-1)[0])
