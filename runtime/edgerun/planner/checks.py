"""Which checks a step can carry (docs/checks.md); the kinds and presets themselves: edgerun.options."""

from __future__ import annotations

from collections.abc import Mapping

from edgerun.ops.activation import CODES

from .plan import Check, Floats, Ints

EPS = 2.0**-23
ROUNDED = 16 * EPS
"""Relative bound of the identities that round (sigmoid, tanh, silu, gelu, elu, exp, erf)."""
SOFTMAX_SUM = 64 * EPS
"""Bound of |sum of a softmax row - 1|, and of the exponentials of a log_softmax row."""
RESCALED = 0.5 + 2.0**-12
"""Bound of |byte - sum · factor| where int8 sums are rescaled."""
INT8 = frozenset(f"{op}_{t}" for op in ("qconv2d", "qconv2d_dw", "qmatmul") for t in ("i8", "u8"))
"""Products of bytes: their checksums are exact, and what rescaling makes of the sums is verified on demand (attribute verify_rescale)."""
AUDITED = INT8 | {"conv2d_f32", "conv2d_dw_f32", "matmul_f32"}
"""Kernels that gather a checksum when asked to (attribute abft)."""

_ROUNDED_CODES = frozenset({4, 5, 8, 9, 10, 11})
_VERIFIED_CODES = frozenset(range(1, 12))
_ROUNDED = ("exp_f32", "erf_f32")
_FINITE = (
    "conv2d_f32",
    "conv2d_dw_f32",
    "conv_transpose2d_f32",
    "matmul_f32",
    "batch_norm_f32",
    "layer_norm_f32",
    "quantize_f32",
    "gru_f32",
    "lstm_f32",
    "rnn_f32",
)


def maed_of(kernel: str, attrs: Mapping[str, Ints | Floats]) -> tuple[Check, ...]:
    """The identity that a step's kernel verifies. A bound of 0 means that it is free of rounding (or only finiteness is tested)."""
    code = CODES.get(kernel.removesuffix("_f32"), 0) or int((attrs.get("activation") or (0,))[0])
    if kernel in ("softmax_f32", "log_softmax_f32"):
        return (Check("maed", SOFTMAX_SUM),)
    if code in _VERIFIED_CODES or kernel in _ROUNDED:
        return (Check("maed", ROUNDED if code in _ROUNDED_CODES or kernel in _ROUNDED else 0.0),)
    return (Check("maed", 0.0),) if kernel in _FINITE or code else ()


def struck_within(kernel: str, attrs: Mapping[str, Ints | Floats]) -> tuple[str, ...]:
    """The sites within a kernel at which it lets an armed fault in (executors.base.Fault): those that its checks would see."""
    if kernel in INT8:
        return ("accumulator", "rescaled", "result") if "y_zero" in attrs else ("accumulator", "result")
    found = ("result",) if maed_of(kernel, attrs) else ()
    return (*found, "accumulator") if kernel in AUDITED else found
