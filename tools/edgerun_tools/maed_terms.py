"""Faults in the terms of an exponential, and which of three checks sees them: the two that MAED published and ours.

    simulator   the authors' simulation: 30 Maclaurin terms (tanh 40), absolute thresholds of 1e-13 (tanh 1e-14)
    program     their C program: 30 terms, absolute 1e-6, other sides of the same identities
    ours        the kernels' form: argument reduced, e^r = E + O and e^-r = E - O from even and odd terms, relative bound of
                16 machine epsilons (kernels/cpp/vecmath.h, activation.h; in float64 the same form with as many terms as that needs)

As in the paper a fault strikes terms of the sum that gives the result, after the sum for the check was formed from the clean terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun_tools.maed_words import corrupt

Array = np.ndarray[Any, Any]

FUNCTIONS = ("sigmoid", "tanh", "exp")
METHODS = ("simulator", "program", "ours")
EFFECT = 1e-15
"""A change of the output below this is no effect, in the paper."""
_THRESHOLD = {"sigmoid": 1e-13, "tanh": 1e-14, "exp": 1e-13}
_PROGRAM = 1e-6
_EXP2_EVEN, _EXP2_ODD = (1.0, 0.240226511, 0.00961803617, 0.000154673658), (0.69314721, 0.05550327, 0.00134007)
_EXP_EVEN = (0.5, 0.0416664573195456, 0.00139356467449672)
_EXP_ODD = (1.0, 0.1666654168796807, 0.00836675841602404)


@dataclass(frozen=True)
class Seen:
    """Of every trial: the output before and after the fault, and whether the check raised an alarm."""

    clean: Array
    faulty: Array
    alarm: Array


@dataclass(frozen=True)
class Terms:
    """A method for one function: [terms, trials] of the clean sum, and (sum with faults, clean terms) → (output, alarm)."""

    values: Array
    judge: Callable[[Array], tuple[Array, Array]]


def bound(dtype: Any) -> float:
    """Our relative bound: 16 machine epsilons of the dtype."""
    return 16 * float(np.finfo(dtype).eps)


def prepare(method: str, function: str, x: Array) -> Terms:
    """The terms of `method` for y = function(x); x: float32 or float64, one value a trial."""
    if method == "ours":
        return _ours(function, x)
    return _published(method, function, x)


def trial(method: str, function: str, x: Array, rng: np.random.Generator, model: str = "", bits: int = 0, struck: int = 0) -> Seen:
    """Evaluates with `struck` different random terms of each trial corrupted (0: clean). Alarms are NaN-safe."""
    with np.errstate(all="ignore"):
        terms = prepare(method, function, x)
        clean, alarm = terms.judge(terms.values)
        if not struck:
            return Seen(clean, clean, alarm)
        which = np.argsort(rng.random(terms.values.shape), axis=0)[:struck]
        values = terms.values.copy()
        hit = np.take_along_axis(values, which, axis=0)
        np.put_along_axis(values, which, corrupt(hit, model, bits, rng), axis=0)
        faulty, alarm = terms.judge(values)
        return Seen(clean, faulty, alarm)


# -- the two published ones -------------------------------------------------------------------------------------------


def maclaurin(z: Array, count: int) -> Array:
    """z^k / k! for k < count, each from the one before it; [count, trials]."""
    rows = [np.ones_like(z)]
    for k in range(1, count):
        rows.append(rows[-1] * z / z.dtype.type(k))
    return np.stack(rows)


def _sum(terms: Array) -> Array:
    """One term after the other, in the terms' own precision."""
    total = np.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def _published(method: str, function: str, x: Array) -> Terms:
    one = x.dtype.type(1)
    z = {"sigmoid": -x, "tanh": 2 * x, "exp": x}[function]
    values = maclaurin(z, 40 if method == "simulator" and function == "tanh" else 30)
    signs = np.where(np.arange(len(values)) % 2, -one, one)[:, None]
    helper = _sum(values * signs)  # e^-z
    limit = _THRESHOLD[function] if method == "simulator" else _PROGRAM

    def judge(terms: Array) -> tuple[Array, Array]:
        total = _sum(terms)
        if function == "exp":
            y = total
            left, right = y, one / helper
        elif function == "sigmoid":
            y = one / (one + total)
            left, right = (one / y - one, one / helper) if method == "simulator" else (y / (one - y), helper)
        else:
            y = (total - one) / (total + one)
            mirrored = (helper - one) / (helper + one)
            a = (one - y) / (one + y)
            left, right = (y, -mirrored) if method == "simulator" else ((a - one) / (a + one), mirrored)
        return y, ~(np.abs(left - right) < limit)

    return Terms(values, judge)


# -- ours -------------------------------------------------------------------------------------------------------------


def _coefficients(dtype: Any, base: float, first: int) -> list[tuple[int, float]]:
    """(power, coefficient) of base^r from power `first` on; in float32 those of the kernels, in float64 Taylor's."""
    if dtype == np.float64:
        return [(k, math.log(base) ** k / math.factorial(k)) for k in range(first, 16)]
    even, odd = (_EXP2_EVEN, _EXP2_ODD) if first == 0 else (_EXP_EVEN, _EXP_ODD)
    return sorted([(2 * k + first * 2, c) for k, c in enumerate(even)] + [(2 * k + 1, c) for k, c in enumerate(odd)])


def _ours(function: str, x: Array) -> Terms:
    one, tau = x.dtype.type(1), x.dtype.type(bound(x.dtype))
    wide = np.asarray(2 * x if function == "tanh" else x)
    # sigmoid: base 2 with the constant term in the polynomial; tanh and exp: base e without it (e^r - 1)
    base, first = (2.0, 0) if function == "sigmoid" else (math.e, 1)
    exact = wide.astype(np.longdouble) * (np.log2(np.longdouble(math.e)) if first == 0 else 1)
    step = np.longdouble(1) if first == 0 else np.log(np.longdouble(2))
    n = np.rint(exact / step)
    r = np.asarray(exact - n * step, x.dtype)
    powers = _coefficients(x.dtype, base, first)
    values = np.stack([x.dtype.type(c) * r**k for k, c in powers])
    is_odd = np.array([k % 2 == 1 for k, _ in powers])
    up = np.asarray(2.0 ** n.astype(np.float64), x.dtype)
    down = one / up
    minus = _sum(values[~is_odd]) - _sum(values[is_odd])  # of the clean terms: e^-r, or e^-r - 1

    def judge(terms: Array) -> tuple[Array, Array]:
        plus = _sum(terms[~is_odd]) + _sum(terms[is_odd])
        if function == "sigmoid":
            e, inverse = plus * up, minus * down
            y = e / (one + e)
            return y, ~(np.abs(y * inverse + y - one) <= tau)
        if function == "exp":
            y = (plus + one) * up
            scaled = y * down
            return y, ~(np.abs(scaled * minus + scaled - one) <= tau)
        p, m = plus * up + (up - one), minus * down + (down - one)
        y = p / (p + 2 * one)
        return y, ~(np.abs(y * (m + 2 * one) + m) <= tau * np.abs(m))

    return Terms(values, judge)
