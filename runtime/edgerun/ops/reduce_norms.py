"""Reductions of a function: ReduceL1 L2 SumSquare LogSum LogSumExp."""

from __future__ import annotations

import math

import onnx_ir as ir

from .axes import axes_of
from .compose import Compose
from .dtypes import require
from .graph import get, shape_of
from .registry import Legal, legalises

_SUMS = frozenset({"f32", "i32", "i64"})
_FLOAT = frozenset({"f32"})


@legalises("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def reduce(legal: Legal) -> ir.Value:
    """Without axes, or with none and noop_with_empty_axes, each element is a set of one: |x|, x², log x …"""
    c, x, node = Compose(legal), legal.required(0), legal.node
    name = node.op_type.removeprefix("Reduce")
    require(x, _SUMS if name in ("L1", "SumSquare") else _FLOAT)
    rank = len(shape_of(x))
    axes = axes_of(legal, rank)
    if not axes:
        axes = () if get(node, "noop_with_empty_axes", 0) else tuple(range(rank))
    keep = bool(get(node, "keepdims", 1))
    if name == "LogSumExp":
        return _log_sum_exp(c, x, axes, keep)
    if name == "L1":
        return c.reduce("sum", c.apply("abs", x), axes, keep)
    if name == "LogSum":
        return c.apply("log", c.reduce("sum", x, axes, keep))
    squares = c.reduce("sum", c.apply("mul", x, x), axes, keep)
    return squares if name == "SumSquare" else c.apply("sqrt", squares)


def _log_sum_exp(c: Compose, x: ir.Value, axes: tuple[int, ...], keep: bool) -> ir.Value:
    """m + log Σ e^(x - m) with m the largest x, or 0 where that is infinite: inf - inf would be NaN."""
    if not axes:
        return x
    top = c.reduce("max", x, axes)
    infinite = c.apply("equal", c.apply("abs", top), math.inf)
    top = c.apply("where", infinite, 0.0, top)
    total = c.reduce("sum", c.apply("exp", c.apply("sub", x, top)), axes)
    result = c.apply("add", c.apply("log", total), top)
    return c.reshape(result, [n for d, n in enumerate(shape_of(x)) if d not in axes]) if not keep else result
