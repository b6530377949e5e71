"""MAED's identities as they were published (arXiv 2603.18120; the authors' C program), for comparison with checks.py.

e^x and e^-x are sums of the same 30 Maclaurin terms in float64, the tolerance is absolute, operands beyond ±10 are taken
as ±10. They raise false alarms where e^|x| amplifies the rounding of y (docs/checks.md). Attribute `paper` = 1 selects them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_kernels.checks import IDENTITY, Sink

Array = np.ndarray[Any, Any]

TERMS = 30
TOLERANCE = 1e-6
RANGE = 10.0


def sums(x: Array, terms: int = TERMS) -> tuple[Array, Array]:
    """Σ x^k / k! and Σ (-1)^k x^k / k!, in the order of the authors' program."""
    term, plus, minus = np.ones_like(x), np.ones_like(x), np.ones_like(x)
    for k in range(1, terms):
        term = term * x / k
        plus = plus + term
        minus = minus + (-term if k % 2 else term)
    return plus, minus


def sides(name: str, x: Array, y: Array) -> tuple[Array, Array]:
    """Both sides of the identity for y = f(x), float64 arrays of one shape; they differ by less than TOLERANCE (relu: not)
    where it holds.

    Beyond the range the authors' function gives what it gives at its end; ours is right there and is held against that.
    """
    if name == "relu":  # relu(y) = y
        return y, np.where(y > 0, y, 0.0)
    b = np.clip(x, -RANGE, RANGE)
    plus, minus = sums(2 * b if name == "tanh" else b)
    end = (plus - 1) / (plus + 1) if name == "tanh" else plus if name == "exp" else 1 / (1 + minus)
    y = np.where((x > RANGE) & (y > end), end, np.where((x < -RANGE) & (y < end), end, y))
    if name == "sigmoid":  # y / (1 - y) = e^x
        return y / (1 - y), plus
    if name == "exp":  # y = 1 / e^-x
        return y, 1 / minus
    a = (1 - y) / (1 + y)  # e^-2x
    return (a - 1) / (a + 1), (minus - 1) / (minus + 1)


def check_published(sink: Sink, name: str, x: Array, y: Array) -> None:
    """Verify y = f(x) (flat arrays) by the published identity of relu, sigmoid, tanh or exp. `got` and `expected` are its sides."""
    sink.checked += y.size
    with np.errstate(all="ignore"):
        left, right = sides(name, x.astype(np.float64), y.astype(np.float64))
        wrong = ~(left == right) if name == "relu" else ~(np.abs(left - right) < TOLERANCE)
    if wrong.any():
        k = int(np.argmax(wrong))
        sink.violated(IDENTITY, k, float(left[k]), float(right[k]), 0.0 if name == "relu" else TOLERANCE)
