"""LpNormalization, and GlobalLpPool and LpPool of p-norms."""

from __future__ import annotations

import math

import onnx_ir as ir

from .compose import Compose
from .dtypes import require
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises
from .window import geometry, sandwich

_FLOAT = frozenset({"f32"})


def _powers(c: Compose, x: ir.Value, p: int) -> ir.Value:
    """|x|^p."""
    if p == 1:
        return c.apply("abs", x)
    return c.apply("mul", x, x) if p == 2 else c.apply("pow", c.apply("abs", x), float(p))


def _root(c: Compose, x: ir.Value, p: int) -> ir.Value:
    if p == 1:
        return x
    return c.apply("sqrt", x) if p == 2 else c.apply("pow", x, 1.0 / p)


def _order(legal: Legal) -> int:
    p = get(legal.node, "p", 2)
    if p < 1:
        raise Unsupported(f"p = {p}")
    return int(p)


@legalises("LpNormalization")
def lp_normalization(legal: Legal) -> ir.Value:
    """x / (Σ|x|^p)^(1/p), p 1 or 2; 0 where the norm is 0."""
    c, x, p = Compose(legal), legal.required(0), _order(legal)
    require(x, _FLOAT)
    rank, axis = len(shape_of(x)), get(legal.node, "axis", -1)
    if p > 2 or not -rank <= axis < rank:
        raise Unsupported(f"p = {p}, axis {axis} of rank {rank}")
    norm = _root(c, c.reduce("sum", _powers(c, x, p), (axis % rank,)), p)
    # A norm of zero is divided as one: 0 / 1 is the 0 that is asked for.
    return c.apply("div", x, c.apply("where", c.apply("equal", norm, 0.0), 1.0, norm))


@legalises("GlobalLpPool")
def global_lp_pool(legal: Legal) -> ir.Value:
    c, x, p = Compose(legal), legal.required(0), _order(legal)
    require(x, _FLOAT)
    if len(shape_of(x)) < 3:
        raise Unsupported("no spatial dimensions")
    return _root(c, c.reduce("sum", _powers(c, x, p), tuple(range(2, len(shape_of(x))))), p)


@legalises("LpPool")
def lp_pool(legal: Legal) -> ir.Value:
    """(Σ|x|^p)^(1/p) over a window, as average times window size; padding counts as zeros."""
    c, x, p, node = Compose(legal), legal.required(0), _order(legal), legal.node
    require(x, _FLOAT)
    if get(node, "ceil_mode", 0):
        raise Unsupported("ceil_mode")
    kernel, y = tuple(get(node, "kernel_shape")), node.outputs[0]
    window = geometry(node, kernel, shape_of(x)[2:], shape_of(y)[2:])
    attrs = {"kernel": kernel, **window, "count_include_pad": 1}
    average = sandwich(legal, "average_pool", _powers(c, x, p), [], y, attrs)
    return _root(c, c.apply("mul", average, float(math.prod(kernel))), p)
