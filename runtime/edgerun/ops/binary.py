"""Broadcasting arithmetic: Add Sub Mul Div Pow, and Min Max Sum Mean of any number of operands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .dtypes import N, require
from .graph import Unsupported, array_of, constant, scalar_of, shape_of
from .registry import Legal, elementwise, legalises

ARITHMETIC = ("add", "sub", "mul", "div", "min", "max")
elementwise(*ARITHMETIC, "pow")


@legalises("Add", "Sub", "Mul", "Div")
def arithmetic(legal: Legal) -> ir.Value:
    a, b = legal.required(0), legal.required(1)
    require(a, N)
    return legal.emit(legal.node.op_type.lower(), [a, b], _broadcast(a, b), a.dtype)


@legalises("Min", "Max", "Sum", "Mean")
def variadic(legal: Legal) -> ir.Value:
    values = [legal.required(k) for k in range(len(legal.node.inputs))]
    if not values:
        raise Unsupported("no operands")
    require(values[0], N)
    op = {"Min": "min", "Max": "max"}.get(legal.node.op_type, "add")
    result = values[0]
    for value in values[1:]:
        result = legal.emit(op, [result, value], _broadcast(result, value), result.dtype)
    if legal.node.op_type == "Mean" and len(values) > 1:
        count = constant(np.asarray(len(values), values[0].dtype.numpy()))  # type: ignore[union-attr]
        result = legal.emit("div", [result, count], shape_of(result), result.dtype)
    return result


@legalises("Pow")
def power(legal: Legal) -> ir.Value:
    x, y = legal.required(0), legal.required(1)
    dtype = require(x, frozenset({"f32", "i32", "i64"}))
    if dtype == "f32" and scalar_of(y) == 2.0 and len(shape_of(y)) <= len(shape_of(x)):
        return legal.emit("mul", [x, x], shape_of(x), x.dtype)
    if y.dtype != x.dtype:
        exponent = array_of(y)
        if dtype != "f32":
            raise Unsupported(f"Pow of {dtype} with an exponent of {y.dtype}")
        if exponent is not None:
            y = constant(exponent.astype(np.float32))
        else:
            require(y, N)
            y = legal.emit("cast", [y], shape_of(y), ir.DataType.FLOAT)
    return legal.emit("pow", [x, y], _broadcast(x, y), x.dtype)


def _broadcast(*values: ir.Value) -> Sequence[int]:
    return np.broadcast_shapes(*(shape_of(v) for v in values))
