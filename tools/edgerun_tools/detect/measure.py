"""How well scores separate two samples, with intervals.

AUROC with DeLong's variance (DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44; by ranks, Sun, Xu 2014); on the logit scale, so that the
interval stays within [0, 1]. Rates with Clopper and Pearson's exact interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import InputError
from edgerun_tools.rates import Rate

Array = np.ndarray[Any, Any]
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A value in [0, 1] and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def auroc(benign: Array, attacked: Array) -> Estimate:
    """Probability that an attacked input's score is above a benign one's, ties counting half. Infinite scores are legal, NaN is not."""
    m, n = len(attacked), len(benign)
    if not m or not n or np.isnan(benign).any() or np.isnan(attacked).any():
        raise InputError(f"AUROC: expected scores of both kinds without NaN; found {n} benign and {m} attacked")
    both = _ranks(np.concatenate([attacked, benign]))
    above, below = (both[:m] - _ranks(attacked)) / n, 1 - (both[m:] - _ranks(benign)) / m
    value = float(above.mean())
    if m < 2 or n < 2:
        return Estimate(value, 0.0, 1.0)
    variance = float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / n
    if not 0 < value < 1:
        half = 3 / min(m, n)  # no variance is seen where they never meet: the rule of three
        return Estimate(value, max(0.0, value - half), min(1.0, value + half))
    centre, spread = math.log(value / (1 - value)), Z95 * math.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(max(centre + s, -700), 700))) for s in (-spread, spread))
    return Estimate(value, low, high)


def share(hits: Array) -> Estimate:
    """Of a bool array, with Clopper and Pearson's interval."""
    rate = Rate.count(hits)
    ends = rate.interval()
    if rate.share is None or ends is None:
        raise InputError("share: expected at least one trial; found none")
    return Estimate(rate.share / 100, ends[0] / 100, ends[1] / 100)


def _ranks(values: Array) -> Array:
    """From 1, ties getting their mean."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    group = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(values)]
    found = np.empty(len(values))
    found[order] = ((starts + ends + 1) / 2)[group]
    return found
