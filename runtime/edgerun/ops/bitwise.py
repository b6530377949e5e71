"""BitwiseAnd BitwiseOr BitwiseXor BitwiseNot of integers, BitShift; Mod of numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import N, require
from .graph import get, shape_of
from .registry import Legal, elementwise, legalises

_INTEGERS = N - {"f32", "f64"}
_OPS = {"BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "BitwiseNot": "bitwise_not"}

elementwise(*_OPS.values(), "shift_left", "shift_right", "mod", "fmod")


@legalises(*_OPS, "BitShift", "Mod")
def bitwise(legal: Legal) -> ir.Value:
    node = legal.node
    values = [legal.required(k) for k in range(1 if node.op_type == "BitwiseNot" else 2)]
    if node.op_type == "BitShift":
        op, dtypes = f"shift_{get(node, 'direction').lower()}", _INTEGERS
    elif node.op_type == "Mod":
        op, dtypes = "fmod" if get(node, "fmod", 0) else "mod", N
    else:
        op, dtypes = _OPS[node.op_type], _INTEGERS
    require(values[0], dtypes)
    return legal.emit(op, values, np.broadcast_shapes(*(shape_of(v) for v in values)), values[0].dtype)
