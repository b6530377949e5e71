"""MAED in readable form: activation results verified by mathematical identities (arXiv 2603.18120).

Every identity recomputes the result another way, so that a fault in one of both shows as a residual. Residuals are
relative to the size of the value checked, because e^|x| amplifies absolute ones; where the identity is free of rounding
the bound is 0.
All tests are written as "not (residual <= bound)", so a NaN is always a violation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun_kernels.special import erfc64

Array = np.ndarray[Any, Any]

IDENTITY = 1
NON_FINITE = 2
REQUANTISED = 8
CHECKSUM = 16
EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
RELATIVE = 16 * EPS
"""Bound of the identities that round: a few units in the last place of either evaluation."""
UNIT = EPS / 2
"""Half a unit in the last place of 1: what one rounding to the nearest float32 adds at most, relatively."""
LEAST = 2.0**-149
"""The smallest positive float32."""
LARGEST_SUM = 1e38
"""Beyond it partial sums may overflow, and nothing is said."""
SOFTMAX_SUM = 64 * EPS
"""Bound of |sum - 1| of a softmax row; the sum is taken in float64."""
RESCALED = 0.5 + 2.0**-12
"""Bound of |byte - sum · factor| in rescaling, which rounds to the nearest integer; the rest is for a product in float32."""
INFINITE = 2.0**128
"""The smallest power of two that float32 rounds to infinity."""


@dataclass
class Sink:
    """What one step's checks saw. `fault` = (flat output index, XOR mask) flips that result before its check; int8 products know
    the other sites of kernel.h's FaultSite, too."""

    checked: int = 0
    flags: int = 0
    first_index: int = -1
    got: float = 0.0
    expected: float = 0.0
    bound: float = 0.0
    magnitude: float = 0.0
    """Sum of |x||w| over all sums of a float32 product that was verified: more than any of them."""
    fault: tuple[int, int] | None = None
    injected: bool = field(default=False)
    site: str = "result"

    def inject(self, y: Array) -> None:
        """Flip the armed bits of y (contiguous float32), once."""
        if self.fault is None or self.injected:
            return
        index, mask = self.fault
        bits = y.reshape(-1).view(np.uint32)
        if 0 <= index < bits.size:
            bits[index] ^= np.uint32(mask & 0xFFFFFFFF)
            self.injected = True

    def strike(self, site: str, values: Array) -> None:
        """Flip the armed bits of `values` (contiguous; int8, uint8, integers in the range of int32, or float32) at this site, once."""
        if self.fault is None or self.injected or self.site != site or not 0 <= self.fault[0] < values.size:
            return
        flat, width = values.reshape(-1), min(values.itemsize, 4)
        flat = flat.view(np.int32) if flat.dtype == np.float32 else flat
        bits = int(flat[self.fault[0]]) ^ (self.fault[1] & ((1 << 8 * width) - 1))
        signed = int.from_bytes((bits & ((1 << 8 * width) - 1)).to_bytes(width, "little"), "little", signed=flat.dtype.kind == "i")
        flat[self.fault[0]] = signed
        self.injected = True

    def violated(self, flag: int, index: int, got: float, expected: float, bound: float) -> None:
        """Record a violation; the details are those of the first one."""
        if self.first_index < 0:
            self.first_index, self.got, self.expected, self.bound = index, got, expected, bound
        self.flags |= flag


def check_activation(sink: Sink, code: int, x: Array, y: Array, alpha: float, beta: float) -> None:
    """Verify y = activation(x) elementwise (flat float32 arrays): its identity, if any, and that x and y are finite.

    x is the result of the convolution (or other operator) the activation is fused to, so it is tested too. Counts every
    value as checked. Codes: docs/kernels.md.
    """
    sink.checked += y.size
    if y.size == 0:
        return
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        k = int(np.argmax(bad))
        sink.violated(NON_FINITE, k, float(y[k]), float("nan"), 0.0)
    if code not in _EXPECT:
        return
    with np.errstate(all="ignore"):
        expected, bound = _EXPECT[code](x.astype(np.float64), y.astype(np.float64), float(alpha), float(beta))
        wrong = ~(np.abs(y - expected) <= bound) & ~bad
    if wrong.any():
        k = int(np.argmax(wrong))
        at = float(bound[k]) if isinstance(bound, np.ndarray) else float(bound)
        sink.violated(IDENTITY, k, float(y[k]), float(expected[k]), at)


def check_finite(sink: Sink, y: Array) -> None:
    """Verify that every value of y is finite."""
    check_activation(sink, 0, y.reshape(-1), y.reshape(-1), 0.0, 0.0)


def check_function(sink: Sink, name: str, x: Array, y: Array) -> None:
    """Verify y = exp(x) or erf(x) elementwise (flat; x float64, y float32). The right infinity, zero or NaN is right."""
    sink.checked += y.size
    with np.errstate(all="ignore"):
        expected, bound = _FUNCTIONS[name](x)
        # An infinity stands for what no longer rounds to a finite number; near it, the one may be right and the other, too.
        found = np.clip(y.astype(np.float64), -INFINITE, INFINITE)
        wrong = ~(np.abs(found - expected) <= bound) & ~(np.isnan(y) & np.isnan(x))
    if wrong.any():
        k = int(np.argmax(wrong))
        sink.violated(IDENTITY, k, float(y[k]), float(expected[k]), float(bound[k]))


def check_sums(sink: Sink, sums: Array, expected: Array, bias: Array | None) -> None:
    """Verify the integer sums [..., N] of a product by its checksum, column by column: over all rows they must come to what the
    sums of the operand and the weights let expect, int64 [N], and one bias a row. The index is that of the column's first sum."""
    rows = sums.size // max(sums.shape[-1], 1)
    if bias is not None:
        expected = expected + rows * bias.astype(np.int64)
    seen = sums.reshape(rows, sums.shape[-1]).sum(axis=0)
    wrong = seen != expected
    if wrong.any():
        column = int(np.argmax(wrong))
        sink.violated(CHECKSUM, column, float(seen[column]), float(expected[column]), 0.0)


def check_products(sink: Sink, first: int, sums: Array, expected: Array, size: Array, terms: int) -> None:
    """Verify float32 sums [P, N] of `terms` products each by their checksum, column by column: over all rows they must come to
    `expected` [N] float64. size [N]: the sum of |x||w| over all rows and terms. However the terms are added, each sum is off by at
    most terms * u * its |x||w| (Higham 2002, 3.1; u = 2^-24), one rounding more being allowed for the check's own float64, and by the
    smallest number where a product underflows. first: number of the first column."""
    sink.magnitude += float(size.sum())
    seen = sums.sum(axis=0, dtype=np.float64)
    bound = (terms + 1) * UNIT * size + terms * len(sums) * LEAST
    wrong = ~(np.abs(seen - expected) <= bound) & (size <= LARGEST_SUM)
    if wrong.any():
        column = int(np.argmax(wrong))
        sink.violated(CHECKSUM, first + column, float(seen[column]), float(expected[column]), float(bound[column]))


def check_rescaled(sink: Sink, real: Array, low: int, high: int, y: Array) -> None:
    """Verify that bytes are the real results (float64, zero point included) within their bounds, up to rounding."""
    sink.checked += y.size
    expected = np.clip(real, low, high).reshape(-1)
    wrong = ~(np.abs(y.reshape(-1) - expected) <= RESCALED)
    if wrong.any():
        k = int(np.argmax(wrong))
        sink.violated(REQUANTISED, k, float(y.reshape(-1)[k]), float(expected[k]), RESCALED)


def check_softmax(sink: Sink, y: Array, axis: int) -> None:
    """Verify that every row along `axis` is finite and sums to 1. The index is that of the row's first element."""
    _check_rows(sink, y, y.astype(np.float64), axis)


def check_log_softmax(sink: Sink, y: Array, axis: int) -> None:
    """Verify that every row along `axis` is finite and that e^y sums to 1 there. The index is as above."""
    with np.errstate(all="ignore"):
        _check_rows(sink, y, np.where(np.isfinite(y), np.exp(y.astype(np.float64)), np.nan), axis)


def _check_rows(sink: Sink, y: Array, shares: Array, axis: int) -> None:
    sink.checked += y.size
    if y.size == 0:
        return
    total = shares.sum(axis=axis)
    wrong = ~(np.abs(total - 1.0) <= SOFTMAX_SUM)
    if not wrong.any():
        return
    row = np.argmax(wrong)
    where = list(np.unravel_index(row, total.shape))
    where.insert(axis, np.intp(0))
    got = float(total.reshape(-1)[row])
    flag = IDENTITY if np.isfinite(got) else NON_FINITE
    sink.violated(flag, int(np.ravel_multi_index(where, y.shape)), got, 1.0, SOFTMAX_SUM)


# Each of these gives what y must be by the identity, and how far off it may be. x, y: float64 copies of float32 values.

def _relu(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # y >= 0 and y + min(x, 0) = x: exact. Where y < 0 there is no right value but |y|.
    return np.where(y >= 0, x - np.minimum(x, 0), np.abs(y)), 0.0


def _clip(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # lo <= y <= hi, and y = x where x lies between: a selection, so exact.
    lo, hi = float(np.float32(alpha)), float(np.float32(beta))
    return np.minimum(np.maximum(x, lo), hi), 0.0


def _leaky_relu(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # y = max(x, 0) + alpha * min(x, 0); one product, one rounding.
    expected = np.maximum(x, 0) + float(np.float32(alpha)) * np.minimum(x, 0)
    return expected, EPS * np.abs(expected) + TINY


def _sigmoid(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # y / (1 - y) = e^x, the kernel having used e^-x.
    e = np.exp(np.clip(x, -700, 700))
    expected = e / (1 + e)
    return expected, RELATIVE * expected + TINY


def _tanh(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # y = -tanh(-x) through e^-2x - 1, which keeps the relative accuracy near 0.
    m = np.expm1(np.clip(-2 * x, -700, 700))
    expected = -m / (2 + m)
    return expected, RELATIVE * np.abs(expected) + TINY


def _hard_sigmoid(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # clip(u, 0, 1) + clip(1 - u, 0, 1) = 1 with u = alpha x + beta; |alpha x| <= 1 + |beta| wherever it matters.
    a, b = float(np.float32(alpha)), float(np.float32(beta))
    mirrored = np.clip(1 - (a * x + b), 0, 1)
    return 1 - mirrored, 4 * EPS * (1 + 2 * abs(b))


def _hard_swish(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # hard_swish(x) - hard_swish(-x) = x
    mirrored = -x * np.clip(0.5 - x / 6, 0, 1)
    return x + mirrored, 4 * EPS * np.abs(x) + TINY


def _silu(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # silu(x) (1 + e^x) = x e^x
    e = np.exp(np.clip(x, -700, 700))
    expected = x * (e / (1 + e))
    return expected, RELATIVE * np.abs(expected) + TINY


def _elu(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # Below 0: (y / alpha + 1) e^-x = 1, that is y = -alpha (e^-x - 1) / e^-x.
    m = np.expm1(np.clip(-np.minimum(x, 0), 0, 700))
    expected = np.maximum(x, 0) - float(np.float32(alpha)) * m / (m + 1)
    return expected, RELATIVE * np.abs(expected) + TINY


def _gelu(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # Φ(x) = 1 - Φ(-x), and Φ(-|x|) = erfc(|x| / √2) / 2, where the kernel used erf.
    tail = x * erfc64(np.abs(x) * np.sqrt(0.5)) / 2
    return np.where(x < 0, tail, x - tail), RELATIVE * np.abs(x) + TINY


def _gelu_tanh(x: Array, y: Array, alpha: float, beta: float) -> tuple[Array, Any]:
    # y (1 + e^2u) = x e^2u, where the kernel used tanh u.
    b = np.clip(x, -20, 20)
    e = np.exp(np.sqrt(8 / np.pi) * (b + 0.044715 * b**3))
    return np.where(x > 20, x, np.where(x < -20, 0.0, x * (e / (1 + e)))), RELATIVE * np.abs(x) + TINY


_EXPECT = {
    1: _relu, 2: _clip, 3: _leaky_relu, 4: _sigmoid, 5: _tanh, 6: _hard_sigmoid, 7: _hard_swish, 8: _silu, 9: _gelu, 10: _gelu_tanh,
    11: _elu,
}


def _exp(x: Array) -> tuple[Array, Array]:
    # y e^-x = 1
    expected = np.minimum(1 / np.exp(-x), INFINITE)
    return expected, RELATIVE * expected + TINY


def _erf(x: Array) -> tuple[Array, Array]:
    # erf x = 1 - erfc x, which loses its digits near 0: there 2 / √π Σ (-1)^k x^(2k + 1) / (k! (2k + 1)).
    b, term, series = np.clip(x, -0.5, 0.5), np.ones_like(x), np.ones_like(x)
    for k in range(1, 12):
        term = term * -(b * b) / k
        series = series + term / (2 * k + 1)
    far = np.copysign(1 - erfc64(np.abs(x)), x)
    expected = np.where(np.abs(x) < 0.5, 2 / np.sqrt(np.pi) * b * series, far)
    return expected, RELATIVE * np.abs(expected) + TINY


_FUNCTIONS = {"exp": _exp, "erf": _erf}
