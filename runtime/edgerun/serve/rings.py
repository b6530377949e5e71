"""Counts over the last while, in memory that never grows: a ring of slots of equal length, and percentiles from buckets."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

LOWEST_MS, PER_OCTAVE, BUCKETS = 0.01, 8, 208
"""Bucket b of a time holds [LOWEST_MS * 2^(b / PER_OCTAVE), the next bound): 9 % wide, from 10 microseconds to 11 minutes.
Shorter and longer times are in the first and the last one."""


def bucket(ms: float) -> int:
    """The bucket of a time in milliseconds; not a number, and what is negative, is in the first."""
    if not ms > LOWEST_MS:
        return 0
    return BUCKETS - 1 if ms == math.inf else min(BUCKETS - 1, int(math.log2(ms / LOWEST_MS) * PER_OCTAVE))


def percentile(counts: np.ndarray, share: float) -> float | None:
    """The time in ms that `share` (0..1) of the counted ones do not exceed (nearest rank, within the bucket by its logarithm);
    None without any. counts: [BUCKETS]. Off by less than a bucket, 9 %."""
    sums = np.cumsum(counts, dtype=np.int64)
    if not sums[-1]:
        return None
    rank = max(1, math.ceil(share * int(sums[-1])))
    b = int(np.searchsorted(sums, rank))
    inside = (rank - (int(sums[b]) - int(counts[b])) - 0.5) / int(counts[b])
    return float(LOWEST_MS * 2 ** ((b + inside) / PER_OCTAVE))


class Ring:
    """`slots` slots of `step_s` seconds, of `columns` counters each, and the highest value of a slot.

    Slots are found by the time alone, so one that nobody counted in for long is never mistaken for a new one. Not thread-safe."""

    def __init__(self, slots: int, step_s: float, columns: int) -> None:
        self.slots, self.step_s = slots, step_s
        self._counts = np.zeros((slots, columns), np.uint32)
        self._highest = np.zeros(slots, np.float32)
        self._ticks = np.full(slots, -1, np.int64)

    def slot(self, now: float) -> int:
        """The slot of `now` (seconds of a clock that never goes back), emptied where it held an older time."""
        tick = int(now // self.step_s)
        k = tick % self.slots
        if self._ticks[k] != tick:
            self._ticks[k] = tick
            self._counts[k] = 0
            self._highest[k] = 0
        return k

    def count(self, now: float, counts: Iterable[tuple[int, int]], highest: float = 0.0) -> None:
        """Add to columns: (column, how many). The highest value of the slot is at least `highest`."""
        k = self.slot(now)
        row = self._counts[k]
        for column, count in counts:
            row[column] += count
        if highest > self._highest[k]:
            self._highest[k] = highest

    def _order(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """The slots from the oldest to that of `now`, and which of them belong to the window."""
        newest = int(now // self.step_s)
        ticks = np.arange(newest - self.slots + 1, newest + 1)
        places = ticks % self.slots
        return places, self._ticks[places] == ticks

    def table(self, now: float) -> np.ndarray:
        """[slots, columns] uint32 from the oldest slot to that of `now`; a copy."""
        places, live = self._order(now)
        return np.where(live[:, None], self._counts[places], np.uint32(0))

    def highest(self, now: float) -> np.ndarray:
        """[slots] float32 in the order of `table`."""
        places, live = self._order(now)
        return np.where(live, self._highest[places], np.float32(0))

    def covered_s(self, now: float, since: float) -> float:
        """Seconds of the window that have been, for a server that counts since `since`."""
        begins = (int(now // self.step_s) - self.slots + 1) * self.step_s
        return max(now - max(begins, since), 1e-3)


class Names:
    """Columns for names that turn up: the first `most` have one each, the rest share the last, called `rest`."""

    def __init__(self, most: int, rest: str = "(others)") -> None:
        self.most, self.rest = most, rest
        self._columns: dict[str, int] = {}

    def __len__(self) -> int:
        """How many columns to provide."""
        return self.most + 1

    def column(self, name: str) -> int:
        """The column of a name."""
        known = self._columns.get(name)
        if known is None:
            known = len(self._columns) if len(self._columns) < self.most else self.most
            if known < self.most:
                self._columns[name] = known
        return known

    def items(self) -> list[tuple[str, int]]:
        """(name, column) in the order of their first appearance, the shared one last."""
        return [*self._columns.items(), (self.rest, self.most)]


__all__ = ["BUCKETS", "LOWEST_MS", "PER_OCTAVE", "Names", "Ring", "bucket", "percentile"]
