"""Sample sizes and exact intervals of proportions.

Leveugle, Calvez, Maistri, Vanhauwaert: "Statistical fault injection: quantified error and confidence" (DATE 2009), Eq. 4, for how many
faults; Clopper and Pearson (Biometrika 1934) for what a count says.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from edgerun.errors import OptionError

WORST = 0.5
"""The proportion for which most samples are needed: assumed before anything was measured."""


@dataclass(frozen=True)
class Proportion:
    """`hits` of `trials` with the two-sided interval [low, high] and the one-sided bounds `at_least` and `at_most`, all at `confidence`.

    rate is None and the interval [0, 1] where there were no trials."""

    hits: int
    trials: int
    rate: float | None
    low: float
    high: float
    at_least: float
    at_most: float
    confidence: float

    def to_dict(self) -> dict[str, float | int | None]:
        """As plain JSON values."""
        return asdict(self)


def require() -> None:
    """OptionError naming the extra, where SciPy is not installed."""
    try:
        import scipy.special  # noqa: F401
    except ImportError as e:
        raise OptionError(f"campaigns: expected SciPy for exact intervals; found: {e}; pip install 'edgerun[campaign]'") from e


def quantile(confidence: float) -> float:
    """Two-sided quantile of the normal distribution: 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + _share("confidence", confidence) / 2))


def sample_size(population: int, margin: float, confidence: float, expected: float = WORST) -> int:
    """How many of `population` possible faults tell a proportion to within ± `margin` (Leveugle Eq. 4); never more than there are."""
    if population <= 0:
        return 0
    t, e = quantile(confidence), _share("margin", margin)
    n = population / (1 + e * e * (population - 1) / (t * t * expected * (1 - expected)))
    return min(population, math.ceil(n))


def without_miss(coverage: float, confidence: float = 0.95) -> int:
    """How many non-masked faults, all caught, it takes to say "at least `coverage`" with one-sided `confidence`: 299 for 99 %."""
    return math.ceil(math.log(1 - _share("confidence", confidence)) / math.log(_share("coverage", coverage)))


def proportion(hits: int, trials: int, confidence: float = 0.95) -> Proportion:
    """Clopper-Pearson: exact, so its true confidence is never below what it says."""
    from scipy.special import betaincinv

    if not 0 <= hits <= trials:
        raise ValueError(f"expected 0 <= hits <= trials; found {hits} of {trials}")
    one = 1 - _share("confidence", confidence)

    def lower(tail: float) -> float:
        return float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0

    def upper(tail: float) -> float:
        return float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0

    return Proportion(hits, trials, hits / trials if trials else None, lower(one / 2), upper(one / 2), lower(one), upper(one), confidence)


def percentile(values: list[int], share: float) -> int:
    """The smallest value that at least `share` of the values do not exceed; 0 for no values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0


def _share(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise OptionError(f"{name}: expected a number between 0 and 1; found {value:g}")
    return value
