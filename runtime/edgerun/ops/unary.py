"""Elementwise functions of one operand: Exp Log Sqrt Erf Neg Abs Reciprocal Floor Ceil, Sin … Atanh."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import F, N, require
from .graph import shape_of
from .registry import Legal, elementwise, legalises

_DTYPES = {"Exp": F, "Log": F, "Sqrt": F, "Erf": F, "Reciprocal": F, "Floor": F, "Ceil": F, "Neg": N, "Abs": N}

_TRIGONOMETRIC = ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
_DTYPES.update(dict.fromkeys(_TRIGONOMETRIC, F))

elementwise(*(name.lower() for name in _DTYPES))


@legalises(*_DTYPES)
def unary(legal: Legal) -> ir.Value:
    x = legal.required(0)
    require(x, _DTYPES[legal.node.op_type])
    return legal.emit(legal.node.op_type.lower(), [x], shape_of(x), x.dtype)
