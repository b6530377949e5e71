"""Figures of merit of an early-exit run."""

from __future__ import annotations


def daes(accuracy: float, speedup: float, energy_ratio: float, alpha: float) -> float:
    """Difficulty-aware efficiency score (DART, arXiv 2603.12269, Eq. 9 and 20-22):

        DAES = accuracy * speedup * energy_ratio / (1 + alpha)

    accuracy as a fraction; speedup = T_static / T; energy_ratio = E_static / E (the paper's "power efficiency" is this
    ratio of energies); alpha: mean difficulty of the data set, which reproduces the paper's tables. Where energy is not
    measured it is taken as proportional to time: energy_ratio = speedup.
    """
    return accuracy * speedup * energy_ratio / (1.0 + alpha)
