"""Float64 oracles and a guarded call for the convolution and matmul kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest

_native = pytest.importorskip("edgerun_kernels._native", reason="the C++ extension is not built")

EPS = float(np.finfo(np.float32).eps)
ISAS = list(_native.isas())
GUARD = 32
CODES = {"none": 0, "relu": 1, "clip": 2, "leaky_relu": 3, "sigmoid": 4, "tanh": 5, "hard_sigmoid": 6, "hard_swish": 7,
         "silu": 8, "gelu": 9, "gelu_tanh": 10, "elu": 11}
PARAMETERS = {"clip": (-0.5, 1.5), "leaky_relu": (0.1, 0.0), "hard_sigmoid": (0.2, 0.5), "elu": (1.5, 0.0)}


def activate(name: str, x: np.ndarray) -> np.ndarray:
    """The activation in float64, with PARAMETERS."""
    alpha, beta = PARAMETERS.get(name, (0.0, 0.0))
    erf = np.vectorize(math.erf, otypes=[np.float64])
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-x))
        return {
            "none": lambda: x, "relu": lambda: np.maximum(x, 0), "clip": lambda: np.clip(x, alpha, beta),
            "leaky_relu": lambda: np.where(x < 0, alpha * x, x), "sigmoid": lambda: sigmoid, "tanh": lambda: np.tanh(x),
            "hard_sigmoid": lambda: np.clip(alpha * x + beta, 0, 1),
            "hard_swish": lambda: x * np.clip(x / 6 + 0.5, 0, 1), "silu": lambda: x * sigmoid,
            "gelu": lambda: 0.5 * x * (1 + erf(x / math.sqrt(2))),
            "gelu_tanh": lambda: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            "elu": lambda: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
        }[name]()


def activation_attrs(name: str) -> dict[str, tuple]:
    """The kernel attributes of an activation with PARAMETERS."""
    alpha, beta = PARAMETERS.get(name, (0.0, 0.0))
    return {"activation": (CODES[name],), "act_alpha": (float(alpha),), "act_beta": (float(beta),)}


def call(name, inputs, attrs, shape, isa, constants=(1, 2), checks=True, fault=None):
    """Runs a kernel into a buffer with guard values on both sides; returns (output, findings)."""
    size = math.prod(shape)
    buffer = np.full(size + 2 * GUARD, -1234.5, np.float32)
    out = buffer[GUARD:GUARD + size].reshape(shape)
    out[...] = np.nan
    info = _native.call(name, inputs, attrs, [out], constants=list(constants), checks=checks, isa=isa, fault=fault)
    assert (buffer[:GUARD] == -1234.5).all() and (buffer[GUARD + size:] == -1234.5).all(), "wrote outside its output"
    return out, info


def assert_close(got: np.ndarray, exact: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    """|got - exact| <= 2 sqrt(terms) eps sum|a||b| + 4 ulp of the result (activations have slope <= 1.2)."""
    bound = EPS * (2 * math.sqrt(max(terms, 1)) * magnitude + 4 * np.abs(exact) + 1e-6)
    worst = np.argmax(np.abs(got - exact) - bound) if got.size else 0
    assert not np.isnan(got).any()
    assert (np.abs(got - exact) <= bound).all(), (got.flat[worst], exact.flat[worst], bound.flat[worst])


def conv2d(x, w, b=None, r=None, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1):
    """x[N,H,W,Ci], w[Co,KH,KW,Ci/g] in float64; returns (y, sum of |terms|)."""
    xp = np.pad(x.astype(np.float64), ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    co, kh, kw, deep = w.shape
    oh = max(0, (xp.shape[1] - (kh - 1) * dilations[0] - 1) // strides[0] + 1)
    ow = max(0, (xp.shape[2] - (kw - 1) * dilations[1] - 1) // strides[1] + 1)
    y = np.zeros((x.shape[0], oh, ow, co))
    magnitude = np.zeros_like(y)
    each = co // group
    for ky in range(kh):
        for kx in range(kw):
            top, left = ky * dilations[0], kx * dilations[1]
            patch = xp[:, top:top + oh * strides[0]:strides[0], left:left + ow * strides[1]:strides[1]][:, :oh, :ow]
            for g in range(group):
                a, v = patch[..., g * deep:(g + 1) * deep], w[g * each:(g + 1) * each, ky, kx].T.astype(np.float64)
                y[..., g * each:(g + 1) * each] += a @ v
                magnitude[..., g * each:(g + 1) * each] += np.abs(a) @ np.abs(v)
    for term in (b, r):
        if term is not None:
            y += term
            magnitude += np.abs(term)
    return y, magnitude


def conv_transpose2d(x, w, b, shape, strides, pads, dilations, group):
    """x[N,H,W,Ci], w[Co/g,KH,KW,Ci] in float64, output shape given; returns (y, sum of |terms|)."""
    _, oh, ow, _ = shape
    each, kh, kw, ci = w.shape
    deep = ci // group
    y, magnitude = np.zeros(shape), np.zeros(shape)
    x64, w64 = x.astype(np.float64), w.astype(np.float64)
    for iy, ix, ky, kx in np.ndindex(x.shape[1], x.shape[2], kh, kw):
        oy = iy * strides[0] - pads[0] + ky * dilations[0]
        ox = ix * strides[1] - pads[1] + kx * dilations[1]
        if 0 <= oy < oh and 0 <= ox < ow:
            for g in range(group):
                a, v = x64[:, iy, ix, g * deep:(g + 1) * deep], w64[:, ky, kx, g * deep:(g + 1) * deep].T
                y[:, oy, ox, g * each:(g + 1) * each] += a @ v
                magnitude[:, oy, ox, g * each:(g + 1) * each] += np.abs(a) @ np.abs(v)
    if b is not None:
        y += b
        magnitude += np.abs(b)
    return y, magnitude
