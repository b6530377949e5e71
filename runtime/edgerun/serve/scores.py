"""Attack scores over the last while: counts, the highest, and a sample of them to draw, in bounded memory."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SAMPLE = 6
"""Scores of a slot that are kept to be drawn, besides the highest: a fair sample, so that dots show where the scores are."""


@dataclass
class Slot:
    """scored: how many; above: of them, above the threshold; sample: (score, above)."""

    tick: int = -1
    scored: int = 0
    above: int = 0
    highest: float | None = None
    threshold: float | None = None
    sample: list[float] = field(default_factory=list)


class Scores:
    """The scores of one model in `slots` slots of `step_s` seconds. Not thread-safe."""

    def __init__(self, slots: int, step_s: float, seed: int = 0) -> None:
        self.slots, self.step_s = slots, step_s
        self._slots = [Slot() for _ in range(slots)]
        self._random = random.Random(seed)

    def add(self, now: float, score: float, threshold: float) -> None:
        """Count one score. Reservoir sampling (Vitter's algorithm R) keeps the sample fair."""
        tick = int(now // self.step_s)
        slot = self._slots[tick % self.slots]
        if slot.tick != tick:
            slot = self._slots[tick % self.slots] = Slot(tick)
        slot.scored += 1
        slot.above += score > threshold
        slot.highest = score if slot.highest is None else max(slot.highest, score)
        slot.threshold = threshold
        if len(slot.sample) < SAMPLE:
            slot.sample.append(score)
        else:
            k = self._random.randrange(slot.scored)
            if k < SAMPLE:
                slot.sample[k] = score

    def window(self, now: float) -> list[Slot]:
        """The slots from the oldest to that of `now`; those without scores are empty."""
        newest = int(now // self.step_s)
        found = []
        for tick in range(newest - self.slots + 1, newest + 1):
            slot = self._slots[tick % self.slots]
            found.append(slot if slot.tick == tick else Slot(tick))
        return found


__all__ = ["SAMPLE", "Scores", "Slot"]
