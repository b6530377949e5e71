"""Activations: Relu Clip LeakyRelu Sigmoid Tanh HardSigmoid HardSwish Swish Gelu Elu PRelu. Codes as in
docs/kernels.md."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .dtypes import F, N, require
from .graph import Unsupported, array_of, constant, dtype_of, get, is_op, scalar_of, shape_of
from .registry import Legal, elementwise, legalises

CODES = {
    "relu": 1,
    "clip": 2,
    "leaky_relu": 3,
    "sigmoid": 4,
    "tanh": 5,
    "hard_sigmoid": 6,
    "hard_swish": 7,
    "silu": 8,
    "gelu": 9,
    "elu": 11,
}
"""Internal operator → activation code (gelu with tanh = 1 is code 10)."""

elementwise(*CODES, "prelu")


def code_of(node: ir.Node | None) -> tuple[int, float, float] | None:
    """(code, alpha, beta) of a float32 activation node, None for anything else."""
    if node is None or not is_op(node, *CODES) or dtype_of(node.inputs[0]) != "f32":  # type: ignore[arg-type]
        return None
    code = CODES[node.op_type] + (get(node, "tanh", 0) if node.op_type == "gelu" else 0)
    return code, get(node, "act_alpha", 0.0), get(node, "act_beta", 0.0)


def _unary(legal: Legal, op: str, **attrs: float) -> ir.Value:
    x = legal.required(0)
    require(x, F)
    return legal.emit(op, [x], shape_of(x), x.dtype, attrs)


@legalises("Relu")
def relu(legal: Legal) -> ir.Value:
    x = legal.required(0)
    dtype = require(x, N)
    if dtype == "f32":
        return _unary(legal, "relu")
    zero = constant(np.zeros((), x.dtype.numpy()))  # type: ignore[union-attr]
    return legal.emit("max", [x, zero], shape_of(x), x.dtype)


@legalises("Clip")
def clip(legal: Legal) -> ir.Value:
    x = legal.required(0)
    dtype = require(x, N)
    if legal.opset < 11:
        lo, hi = get(legal.node, "min", -math.inf), get(legal.node, "max", math.inf)
        bounds: list[ir.Value | None] = [constant(np.float32(lo).reshape(())), constant(np.float32(hi).reshape(()))]
    else:
        bounds = [legal.input(1), legal.input(2)]
        lo = -math.inf if bounds[0] is None else scalar_of(bounds[0])
        hi = math.inf if bounds[1] is None else scalar_of(bounds[1])
    if dtype == "f32" and lo is not None and hi is not None and lo <= hi:
        if lo == 0 and hi == math.inf:
            return _unary(legal, "relu")
        return _unary(legal, "clip", act_alpha=float(lo), act_beta=float(hi))
    for op, bound in (("max", bounds[0]), ("min", bounds[1])):
        if bound is not None:
            x = legal.emit(op, [x, bound], shape_of(x), x.dtype)
    return x


@legalises("LeakyRelu")
def leaky_relu(legal: Legal) -> ir.Value:
    return _unary(legal, "leaky_relu", act_alpha=get(legal.node, "alpha", 0.01))


@legalises("Elu")
def elu(legal: Legal) -> ir.Value:
    return _unary(legal, "elu", act_alpha=get(legal.node, "alpha", 1.0))


@legalises("Sigmoid")
def sigmoid(legal: Legal) -> ir.Value:
    return _unary(legal, "sigmoid")


@legalises("Tanh")
def tanh(legal: Legal) -> ir.Value:
    return _unary(legal, "tanh")


@legalises("HardSigmoid")
def hard_sigmoid(legal: Legal) -> ir.Value:
    return _unary(legal, "hard_sigmoid", act_alpha=get(legal.node, "alpha", 0.2), act_beta=get(legal.node, "beta", 0.5))


@legalises("HardSwish")
def hard_swish(legal: Legal) -> ir.Value:
    return _unary(legal, "hard_swish")


@legalises("Swish")
def swish(legal: Legal) -> ir.Value:
    if get(legal.node, "alpha", 1.0) != 1.0:
        raise Unsupported("Swish with alpha other than 1")
    return _unary(legal, "silu")


@legalises("Gelu")
def gelu(legal: Legal) -> ir.Value:
    return _unary(legal, "gelu", tanh=int(get(legal.node, "approximate", "none") == "tanh"))


@legalises("PRelu")
def prelu(legal: Legal) -> ir.Value:
    x, slope = legal.required(0), legal.required(1)
    require(x, F)
    array = array_of(slope)
    if array is not None and array.size == 1:
        return _unary(legal, "leaky_relu", act_alpha=float(array.reshape(-1)[0]))
    return legal.emit("prelu", [x, slope], shape_of(x), x.dtype)
