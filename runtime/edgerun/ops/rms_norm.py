"""RMSNormalization: x / √(mean(x²) + ε) · scale."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises


@legalises("RMSNormalization")
def rms_norm(legal: Legal) -> ir.Value:
    """Over the axes from `axis` on. Computed in float32, whatever `stash_type` allows below that."""
    c, x, scale = Compose(legal), legal.required(0), legal.required(1)
    shape, axis = shape_of(x), get(legal.node, "axis", -1)
    if get(legal.node, "stash_type", 1) == ir.DataType.DOUBLE:
        raise Unsupported("statistics in float64")
    if not -len(shape) <= axis < len(shape) or math.prod(shape) == 0:
        raise Unsupported(f"axis {axis} of shape {shape}")
    inner, weights = c.enter(x), c.enter(scale)
    if np.broadcast_shapes(shape, shape_of(scale)) != shape:
        raise Unsupported(f"scale {shape_of(scale)} is not broadcast to {shape}")
    axes = tuple(range(axis % len(shape), len(shape)))
    mean = c.reduce("mean", c.apply("mul", inner, inner), axes)
    root = c.apply("sqrt", c.apply("add", mean, get(legal.node, "epsilon", 1e-5)))
    result = c.apply("mul", c.apply("div", inner, root), weights)
    return result
