"""NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss: the target's element of every column, chosen by comparison."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import require
from .graph import Unsupported, constant, get, shape_of
from .registry import Legal, legalises

_REDUCTIONS = ("none", "mean", "sum")


@legalises("NegativeLogLikelihoodLoss")
def likelihood(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    return _loss(c, c.enter(x))


@legalises("SoftmaxCrossEntropyLoss")
def cross_entropy(legal: Legal) -> list[ir.Value]:
    c, x = Compose(legal), legal.required(0)
    if len(shape_of(x)) < 2:
        raise Unsupported(f"scores of shape {shape_of(x)}")
    logarithms = c.softmax(c.enter(x), 1, log=True)
    return [_loss(c, logarithms), logarithms][: len(legal.node.outputs)]


def _loss(c: Compose, x: ir.Value) -> ir.Value:
    """x[N, C, …], target[N, …], weight[C]?. A target that is no class, nor ignore_index, gives NaN."""
    target, weight, node = c.legal.required(1), c.legal.input(2), c.legal.node
    require(target, frozenset({"i32", "i64"}))
    shape, reduction, ignored = shape_of(x), get(node, "reduction", "mean"), get(node, "ignore_index")
    if len(shape) < 2 or 0 in shape or shape_of(target) != (shape[0], *shape[2:]) or reduction not in _REDUCTIONS:
        raise Unsupported(f"scores {shape}, target {shape_of(target)}, reduction {reduction}")
    if weight is not None and shape_of(weight) != shape[1:2]:
        raise Unsupported(f"weights of shape {shape_of(weight)} for {shape[1]} classes")
    column = (shape[1], *(1,) * (len(shape) - 2))
    classes = constant(np.arange(shape[1], dtype=target.dtype.numpy()).reshape(column))  # type: ignore[union-attr]
    chosen = c.apply("equal", c.reshape(target, (shape[0], 1, *shape[2:])), classes)

    def pick(values: ir.Value) -> ir.Value:
        return c.reduce("sum", c.apply("where", chosen, values, 0.0), (1,), keepdims=False)

    loss = c.apply("neg", pick(x))
    weights = None if weight is None else pick(c.reshape(c.enter(weight), column))
    if weights is not None:
        loss = c.apply("mul", loss, weights)
    valid = c.apply("and", c.apply("greater_or_equal", target, 0), c.apply("less", target, shape[1]))
    loss = c.apply("where", valid, loss, math.nan)
    if ignored is not None:
        leave = c.apply("equal", target, ignored)
        loss = c.apply("where", leave, 0.0, loss)
        if weights is None:
            weights = c.apply("where", leave, constant(np.float32(0).reshape(())), 1.0)
        else:
            weights = c.apply("where", leave, 0.0, weights)
    axes = tuple(range(len(shape) - 1))
    if reduction == "none":
        return loss
    if reduction == "mean" and weights is None:
        return c.reduce("mean", loss, axes, keepdims=False)
    total = c.reduce("sum", loss, axes, keepdims=False)
    if reduction == "sum" or weights is None:
        return total
    return c.apply("div", total, c.reduce("sum", weights, axes, keepdims=False))
