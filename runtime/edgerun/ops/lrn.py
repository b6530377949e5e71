"""LRN: x / (bias + alpha/size · Σ x² of neighbouring channels)^beta; the sum is an average pool along the channels."""

from __future__ import annotations

import math

import onnx_ir as ir

from .compose import Compose
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises


@legalises("LRN")
def lrn(legal: Legal) -> ir.Value:
    c, x, node = Compose(legal), legal.required(0), legal.node
    shape, size = shape_of(x), get(node, "size", 0)
    if len(shape) < 3 or 0 in shape or size < 1:
        raise Unsupported(f"size {size} for shape {shape}")
    inner = c.enter(x)
    n, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
    # As an image of one row of channels for every pixel's column: [N, channels, pixels, 1].
    squares = c.reshape(c.apply("mul", inner, inner), (n, channels, pixels, 1))
    before, after = (size - 1) // 2, size // 2
    window = {"kernel": (size, 1), "strides": (1, 1), "pads": (before, 0, after, 0), "dilations": (1, 1), "count_include_pad": 1}
    mean = c.reshape(legal.emit("average_pool", [squares], shape_of(squares), inner.dtype, window), shape)
    base = c.apply("add", c.apply("mul", mean, get(node, "alpha", 1e-4)), get(node, "bias", 1.0))
    return c.apply("div", inner, c.apply("pow", base, get(node, "beta", 0.75)))
