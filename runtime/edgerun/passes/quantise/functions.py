"""Elementwise operators as functions of float64 arrays, by which tables are made at plan time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import get

Array = np.ndarray
_UNARY: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)), "tanh": np.tanh, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
    "neg": np.negative, "abs": np.abs, "reciprocal": lambda x: 1.0 / x, "floor": np.floor, "ceil": np.ceil,
    "erf": np.vectorize(math.erf, otypes=[np.float64]), "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "not": np.logical_not, "relu": lambda x: np.maximum(x, 0.0),
    "hard_swish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "silu": lambda x: x * (0.5 * (1.0 + np.tanh(0.5 * x))),
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "pow": np.power, "equal": np.equal, "greater": np.greater, "less": np.less, "greater_or_equal": np.greater_equal,
    "less_or_equal": np.less_equal, "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
    "prelu": lambda x, slope: np.where(x < 0, x * slope, x),
}
_ALPHA = ("clip", "leaky_relu", "hard_sigmoid", "elu", "gelu")
FUNCTIONS = frozenset({*_UNARY, *_BINARY, *_ALPHA, "where"})
"""Internal operators that `evaluate` knows."""
SINGLE = frozenset({*_BINARY, "where", "not", "relu", "clip", "leaky_relu", "neg", "abs", "floor", "ceil", "sqrt", "reciprocal"}) - {"pow"}
"""Those that round once at most: the same bits wherever float32 is IEEE's."""


def evaluate(node: ir.Node, operands: list[Any]) -> Array:
    """The node's result for these operands (float64 or bool arrays that broadcast)."""
    op = node.op_type
    with np.errstate(all="ignore"):
        if op in _UNARY:
            return _UNARY[op](operands[0])
        if op in _BINARY:
            return _BINARY[op](operands[0], operands[1])
        if op == "where":
            return np.where(operands[0], operands[1], operands[2])
        x, alpha, beta = operands[0], float(get(node, "act_alpha", 0.0)), float(get(node, "act_beta", 0.0))
        if op == "clip":
            return np.clip(x, alpha, beta)
        if op == "leaky_relu":
            return np.where(x < 0, alpha * x, x)
        if op == "hard_sigmoid":
            return np.clip(alpha * x + beta, 0.0, 1.0)
        if op == "elu":
            return np.where(x < 0, alpha * np.expm1(x), x)
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if get(node, "tanh", 0) else _UNARY["erf"](x / math.sqrt(2))
        return 0.5 * x * (1.0 + inner)
