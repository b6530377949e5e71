"""A share with its exact (Clopper-Pearson) interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import OptionError


@dataclass(frozen=True)
class Rate:
    """`hits` of `of` trials."""

    hits: int
    of: int

    @staticmethod
    def count(hits: Any, of: Any = True) -> Rate:
        """How many of the trials marked in `of` (a boolean array, or all) are marked in `hits`."""
        hits = np.asarray(hits)
        of = np.broadcast_to(of, hits.shape)
        return Rate(int(np.count_nonzero(hits & of)), int(np.count_nonzero(of)))

    @property
    def share(self) -> float | None:
        """In percent; None where there were no trials."""
        return 100 * self.hits / self.of if self.of else None

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Clopper-Pearson, in percent: each end has at most (1 - confidence) / 2 of being missed. Raises OptionError without SciPy."""
        if not self.of:
            return None
        try:
            from scipy.stats import beta
        except ImportError as e:
            raise OptionError("intervals need SciPy: expected the extra `campaign`; found none (pip install 'edgerun[campaign]')") from e
        tail = (1 - confidence) / 2
        low = 0.0 if self.hits == 0 else float(beta.ppf(tail, self.hits, self.of - self.hits + 1))
        high = 1.0 if self.hits == self.of else float(beta.ppf(1 - tail, self.hits + 1, self.of - self.hits))
        return 100 * low, 100 * high

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.hits + other.hits, self.of + other.of)

    def text(self, interval: bool = False) -> str:
        """"97.31" or "97.31 (96.98–97.62)"; "–" where there were no trials."""
        if self.share is None:
            return "–"
        ends = self.interval() if interval else None
        return f"{self.share:.2f}" + (f" ({ends[0]:.2f}–{ends[1]:.2f})" if ends else "")

    def to_dict(self) -> dict[str, Any]:
        """hits, of, share and 95 % interval in percent."""
        return {"hits": self.hits, "of": self.of, "share": self.share, "interval": self.interval()}
