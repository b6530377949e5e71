"""How far two float32 computations of one number may lie apart: the bounds of the checks.

Let u be the unit roundoff (2⁻²⁴) and γ(n) = n·u / (1 − n·u). A sum of n products, in whatever order, with or without fused
multiply-add and however blocked, has the error |ŝ − s| ≤ γ(n)·Σ|aᵢ||bᵢ| (Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., eq. 3.5). Errors of steps that follow each other compose: (1 + γ(m))(1 + γ(n)) ≤ 1 + γ(m + n) (Lemma 3.3). So a check that
forms one quantity S two ways, with at most n roundings on the longest path of both together, holds on every fault-free machine
with

    |Ŝ₁ − Ŝ₂| ≤ γ(n)·A,      A: the sum of the absolute values of everything that is added up in S.

This is true for all operands, large, small or cancelling, as A is taken of *these* operands. What is left is a cheap upper bound of
A = Σₖ |wₖ||xₖ|. Forming it exactly would cost the checksum once more. Cauchy and Schwarz give A ≤ ‖w‖₂·‖x‖₂: the first factor is
a constant of the file, the second one reduction, shared by all outputs of the layer. It is at most a few times A unless single
numbers dominate, and never below it.

A bound computed in float32 is itself rounded: a norm over n numbers by less than γ(n + 2) of itself, and squares below 2⁻¹⁴⁹ vanish,
that is numbers below 2⁻⁷⁴; so factors are divided by 1 − γ(n + 2), and FLOOR·√n is added to norms. Norms overflow above 1.8e19: there
a bound is infinite and the check silent.

tf32: tensor cores that round operands to 11 bits (CUDA's default for convolutions) add 2⁻¹¹ for each of the two operands of a
product, on both sides of the comparison.
"""

from __future__ import annotations

import numpy as np

UNIT = 2.0**-24
FLOOR = 2.0**-60
"""Far below what float32 activations hold, far above what is lost by underflow: 2⁻⁷⁴ a number."""
TINY = 2.0**-126
"""What one product may lose by underflow, where subnormal numbers count as zero."""
NORM_SLACK = 1.25
"""For norms over lengths that are not known ahead, up to 2²¹ elements: γ(2²¹) is below 0.15."""
ARITHMETIC = {"float32": 0.0, "tf32": 4.0 * 2.0**-11}
"""What the operands' own rounding adds to a comparison, relative to A."""


def gamma(n: float) -> float:
    """γ(n) of Higham; infinite where n·u reaches 1, so that the check says nothing rather than something wrong."""
    return n * UNIT / (1 - n * UNIT) if n * UNIT < 1 else np.inf


def factor(roundings: float, norms: np.ndarray | float, length: float, arithmetic: str = "float32") -> np.ndarray:
    """What a norm over `length` numbers is multiplied with: γ(roundings)·‖w‖₂, enlarged by the norm's own rounding."""
    own = gamma(length + 2)
    if own >= 1:
        return np.full(np.shape(norms), np.inf)
    return (gamma(roundings) + ARITHMETIC[arithmetic]) * np.asarray(norms, np.float64) / (1 - own)


def up(values: np.ndarray) -> np.ndarray:
    """float64 to float32, rounded upwards."""
    with np.errstate(over="ignore"):
        low = np.asarray(values, np.float64).astype(np.float32)
        return np.where(low < values, np.nextafter(low, np.float32(np.inf)), low)
