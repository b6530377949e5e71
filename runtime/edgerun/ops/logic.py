"""Comparison and logic: Equal Greater Less GreaterOrEqual LessOrEqual, And Or Xor Not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import A, B, N, require
from .graph import shape_of
from .registry import Legal, elementwise, legalises

_OPS = {
    "Equal": ("equal", A),
    "Greater": ("greater", N),
    "Less": ("less", N),
    "GreaterOrEqual": ("greater_or_equal", N),
    "LessOrEqual": ("less_or_equal", N),
    "And": ("and", B),
    "Or": ("or", B),
    "Xor": ("xor", B),
    "Not": ("not", B),
}

elementwise(*(name for name, _ in _OPS.values()))


@legalises(*_OPS)
def logic(legal: Legal) -> ir.Value:
    op, dtypes = _OPS[legal.node.op_type]
    values = [legal.required(k) for k in range(1 if op == "not" else 2)]
    require(values[0], dtypes)
    shape = np.broadcast_shapes(*(shape_of(v) for v in values))
    return legal.emit(op, values, shape, ir.DataType.BOOL)
