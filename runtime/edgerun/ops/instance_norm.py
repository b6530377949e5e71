"""InstanceNormalization, GroupNormalization, MeanVarianceNormalization: (x - mean) / √variance by the definition."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .axes import axes_of
from .compose import Compose
from .dtypes import require
from .graph import Unsupported, constant, get, shape_of
from .registry import Legal, legalises


def _normalised(c: Compose, x: ir.Value, axes: tuple[int, ...], epsilon: float) -> ir.Value:
    centred = c.apply("sub", x, c.reduce("mean", x, axes))
    variance = c.reduce("mean", c.apply("mul", centred, centred), axes)
    return c.apply("div", centred, c.apply("sqrt", c.apply("add", variance, epsilon)))


@legalises("InstanceNormalization")
def instance_norm(legal: Legal) -> ir.Value:
    """x[N, C, …]; statistics over all axes but the first two."""
    c, x = Compose(legal), legal.required(0)
    shape = shape_of(x)
    if len(shape) < 3 or 0 in shape:
        raise Unsupported(f"shape {shape}")
    y = _normalised(c, c.enter(x), tuple(range(2, len(shape))), get(legal.node, "epsilon", 1e-5))
    return _scaled(c, y, (-1, *(1,) * (len(shape) - 2)))


@legalises("GroupNormalization")
def group_norm(legal: Legal) -> ir.Value:
    """x[N, C, …] in num_groups groups of neighbouring channels; scale and bias per channel, as since opset 21."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    shape, groups = shape_of(x), get(node, "num_groups", 0)
    if get(node, "stash_type", 1) == ir.DataType.DOUBLE:
        raise Unsupported("statistics in float64")
    if len(shape) < 2 or 0 in shape or groups < 1 or shape[1] % groups:
        raise Unsupported(f"{groups} groups of shape {shape}")
    parts = (shape[0], groups, math.prod(shape[1:]) // groups)
    y = _normalised(c, c.reshape(c.enter(x), parts), (2,), get(node, "epsilon", 1e-5))
    return _scaled(c, c.reshape(y, shape), (-1, *(1,) * (len(shape) - 2)))


def _scaled(c: Compose, y: ir.Value, column: tuple[int, ...]) -> ir.Value:
    for op, index in (("mul", 1), ("add", 2)):
        value = c.legal.required(index)
        size = math.prod(shape_of(value))
        if size != (shape_of(y)[1] if len(shape_of(value)) == 1 else -1):
            raise Unsupported(f"scale or bias of shape {shape_of(value)}")
        y = c.apply(op, y, c.reshape(c.enter(value), (size, *column[1:])))
    return y


@legalises("MeanVarianceNormalization")
def mean_variance(legal: Legal) -> ir.Value:
    """Axes 0, 2 and 3 unless others are given; the definition adds 1e-9 to the standard deviation."""
    c, x = Compose(legal), legal.required(0)
    require(x, frozenset({"f32"}))
    shape = shape_of(x)
    axes = axes_of(legal, len(shape), index=2)
    axes = (0, 2, 3) if axes is None else axes
    if 0 in shape or max(axes, default=0) >= len(shape):
        raise Unsupported(f"axes {axes} of shape {shape}")
    centred = c.apply("sub", x, c.reduce("mean", x, axes))
    deviation = c.apply("sqrt", c.reduce("mean", c.apply("mul", centred, centred), axes))
    return c.apply("div", centred, c.apply("add", deviation, constant(np.float32(1e-9).reshape(()))))
