"""Activations without a kernel of their own, from those that have one: Selu Celu Softplus Softsign Mish ThresholdedRelu
Shrink Sign SwiGLU."""

from __future__ import annotations

import onnx_ir as ir

from .compose import Compose
from .dtypes import N, require
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises

_SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}


@legalises("Selu")
def selu(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    y = c.apply("elu", c.enter(x), act_alpha=get(legal.node, "alpha", _SELU["alpha"]))
    return c.apply("mul", y, get(legal.node, "gamma", _SELU["gamma"]))


@legalises("Celu")
def celu(legal: Legal) -> ir.Value:
    """α·elu(x/α): for x > 0 that is x, but for a rounding, so x itself is taken."""
    c, x, alpha = Compose(legal), legal.required(0), get(legal.node, "alpha", 1.0)
    if not alpha > 0:
        raise Unsupported(f"alpha {alpha}")
    inner = c.enter(x)
    if alpha == 1.0:
        return c.apply("elu", inner, act_alpha=1.0)
    low = c.apply("elu", c.apply("div", c.apply("min", inner, 0.0), alpha), act_alpha=1.0)
    return c.apply("add", c.apply("relu", inner), c.apply("mul", low, alpha))


def _softplus(c: Compose, x: ir.Value) -> ir.Value:
    """log(1 + eˣ) = relu(x) + log(1 + e^-|x|), which cannot overflow.

    Where e^-|x| is too small for 1 + e^-|x| to show it, log(1 + e) is e: relu(x) + e is exact to the last place there.
    """
    e = c.apply("exp", c.apply("neg", c.apply("abs", x)))
    # log1p(e) = log(u)·e / (u - 1) with u = 1 + e as rounded (HP-15C; Goldberg 1991, theorem 4).
    u = c.apply("add", e, 1.0)
    lost = c.apply("sub", u, 1.0)
    tiny = c.apply("equal", lost, 0.0)
    ratio = c.apply("div", e, c.apply("where", tiny, 1.0, lost))
    log1p = c.apply("where", tiny, e, c.apply("mul", c.apply("log", u), ratio))
    return c.apply("add", c.apply("relu", x), log1p)


@legalises("Softplus")
def softplus(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    return _softplus(c, c.enter(x))


@legalises("Mish")
def mish(legal: Legal) -> ir.Value:
    """x·tanh(softplus(x))."""
    c, x = Compose(legal), legal.required(0)
    inner = c.enter(x)
    return c.apply("mul", inner, c.apply("tanh", _softplus(c, inner)))


@legalises("Softsign")
def softsign(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    inner = c.enter(x)
    return c.apply("div", inner, c.apply("add", c.apply("abs", inner), 1.0))


@legalises("ThresholdedRelu")
def thresholded_relu(legal: Legal) -> ir.Value:
    """x where x > alpha, else 0. NaN stays: it is not <= alpha."""
    c, x = Compose(legal), legal.required(0)
    inner = c.enter(x)
    low = c.apply("less_or_equal", inner, get(legal.node, "alpha", 1.0))
    return c.apply("where", low, 0.0, inner)


@legalises("Shrink")
def shrink(legal: Legal) -> ir.Value:
    """x + bias below -lambd, x - bias above lambd, else 0. NaN stays."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    inner = c.enter(x)
    bias, lambd = get(node, "bias", 0.0), get(node, "lambd", 0.5)
    above = c.apply("where", c.apply("less_or_equal", inner, lambd), 0.0, c.apply("sub", inner, bias))
    return c.apply("where", c.apply("less", inner, -lambd), c.apply("add", inner, bias), above)


@legalises("Sign")
def sign(legal: Legal) -> ir.Value:
    """-1, 0 or 1; NaN for NaN."""
    c, x = Compose(legal), legal.required(0)
    require(x, N)
    signed = x.dtype.numpy().kind != "u"  # type: ignore[union-attr]
    y = c.apply("where", c.apply("greater", x, 0), 1, x)
    if signed:
        y = c.apply("where", c.apply("less", x, 0), -1, y)
    return y


@legalises("SwiGLU")
def swiglu(legal: Legal) -> ir.Value:
    """a·sigmoid(alpha·a)·b."""
    c, a, b = Compose(legal), legal.required(0), legal.required(1)
    if shape_of(a) != shape_of(b) or a.dtype != b.dtype:
        raise Unsupported(f"operands of {a.dtype} {shape_of(a)} and {b.dtype} {shape_of(b)}")
    inner, alpha = c.enter(a), get(legal.node, "alpha", 1.0)
    if alpha == 1.0:
        gated = c.apply("silu", inner)
    else:
        gated = c.apply("mul", inner, c.apply("sigmoid", c.apply("mul", inner, alpha)))
    return c.apply("mul", gated, c.enter(b))
