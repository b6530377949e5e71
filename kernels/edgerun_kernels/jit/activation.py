"""Activations y = act(x), fused (`finish`) or standalone; codes, parameters and checks: docs/kernels.md.

Elementwise: the output may be the input's buffer. NaN in → NaN out. Exponentials are taken in float64 and rounded once.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink, check_activation
from edgerun_kernels.paper import check_published
from edgerun_kernels.special import erf64
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, number, operand

NONE, RELU, CLIP, LEAKY_RELU, SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH, SILU, GELU, GELU_TANH, ELU = range(12)


def activate(code: int, x: Array, alpha: np.float32, beta: np.float32) -> Array:
    """The activation of a float32 array, as a new float32 array (x itself for code 0)."""
    with np.errstate(all="ignore"):
        if code == NONE:
            return x
        if code == RELU:
            return np.where(x < 0, np.float32(0), x)
        if code == CLIP:
            return np.minimum(np.maximum(x, alpha), beta)
        if code == LEAKY_RELU:
            return np.where(x < 0, alpha * x, x)
        if code == HARD_SIGMOID:
            return np.asarray(np.clip(alpha * x + beta, np.float32(0), np.float32(1)))
        if code == HARD_SWISH:
            return x * np.clip(x / np.float32(6) + np.float32(0.5), np.float32(0), np.float32(1))
        wide = x.astype(np.float64)
        return np.asarray(_exponential(code, wide, float(alpha)), np.float32)


def _exponential(code: int, x: Array, alpha: float) -> Any:
    if code == SIGMOID:
        return 1 / (1 + np.exp(-x))
    if code == TANH:
        return np.tanh(x)
    if code == SILU:
        # -inf * 0 is NaN in the definition x * sigmoid(x) too.
        return x * (1 / (1 + np.exp(-x)))
    if code == GELU:
        return 0.5 * x * (1 + erf64(x / math.sqrt(2)))
    if code == GELU_TANH:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    if code == ELU:
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    raise ValueError(f"activation code {code} is not one of 0..11")


def finish(x: Array, attrs: Attrs, y: Array, sink: Sink | None, *, always: bool = True) -> None:
    """Write y = act(x) by the attributes activation, act_alpha, act_beta; verify it when a sink is given.

    always: also test results of activation 0 for being finite (conv, matmul).
    """
    _apply(integer(attrs, "activation"), x, number(attrs, "act_alpha"), number(attrs, "act_beta"), y, sink, always)


def _apply(code: int, x: Array, alpha: np.float32, beta: np.float32, y: Array, sink: Sink | None, always: bool) -> None:
    if sink is None or (code == NONE and not always):
        y[...] = activate(code, x, alpha, beta)
        return
    x = x.copy() if np.may_share_memory(x, y) else x
    y[...] = activate(code, x, alpha, beta)
    sink.inject(y)
    check_activation(sink, code, np.broadcast_to(x, y.shape).reshape(-1), y.reshape(-1), float(alpha), float(beta))


def _standalone(code: int, inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    if code == GELU and integer(attrs, "tanh"):
        code = GELU_TANH
    x, y = operand(inputs, 0), outputs[0]
    if sink is not None and integer(attrs, "paper"):
        kept = x.copy()
        y[...] = activate(code, x, np.float32(0), np.float32(0))
        sink.inject(y)
        check_published(sink, {RELU: "relu", SIGMOID: "sigmoid", TANH: "tanh"}[code], kept.reshape(-1), y.reshape(-1))
        return
    _apply(code, x, number(attrs, "act_alpha"), number(attrs, "act_beta"), y, sink, True)


KERNELS: dict[str, Kernel] = {
    f"{name}_f32": partial(_standalone, code)
    for name, code in {
        "relu": RELU, "clip": CLIP, "leaky_relu": LEAKY_RELU, "sigmoid": SIGMOID, "tanh": TANH, "elu": ELU,
        "hard_sigmoid": HARD_SIGMOID, "hard_swish": HARD_SWISH, "silu": SILU, "gelu": GELU,
    }.items()
}
