"""IsNaN, IsInf, and Round (half to even), from comparisons."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import require
from .graph import constant, get, shape_of
from .registry import Legal, legalises

_FLOATS = frozenset({"f32", "f64"})


@legalises("IsNaN")
def is_nan(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    require(x, _FLOATS)
    return c.apply("not", c.apply("equal", x, x))


@legalises("IsInf")
def is_inf(legal: Legal) -> ir.Value:
    c, node, x = Compose(legal), legal.node, legal.required(0)
    require(x, _FLOATS)
    above, below = get(node, "detect_positive", 1), get(node, "detect_negative", 1)
    if above and below:
        return c.apply("equal", c.apply("abs", x), math.inf)
    if not above and not below:
        return c.expand(constant(np.zeros((), np.bool_)), shape_of(x))
    return c.apply("equal", x, math.inf if above else -math.inf)


@legalises("Round")
def round_(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    return half_even(c, c.enter(x))


def half_even(c: Compose, x: ir.Value) -> ir.Value:
    """floor(x), or one more where the rest is above a half, or a half above an odd number."""
    low = c.apply("floor", x)
    rest = c.apply("sub", x, low)
    half = c.apply("mul", low, 0.5)
    odd = c.apply("less", c.apply("floor", half), half)
    up = c.apply("or", c.apply("greater", rest, 0.5), c.apply("and", c.apply("equal", rest, 0.5), odd))
    return c.apply("where", up, c.apply("add", low, 1.0), low)
