"""Where sums over intermediate results are formed, and before what they must still hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgerun.executors.guarding import asks
from edgerun.planner.plan import ABSENT, Plan, Slot


@dataclass(frozen=True)
class Kept:
    """Bytes with a sum. number: which of the sums; place and offset as in Slot; step: that wrote them, -1 for an input of the model."""

    number: int
    place: str
    offset: int
    nbytes: int
    step: int


@dataclass
class Buffers:
    """Follows the bytes through a plan without jumps. `read` and `written` are asked once for every step, in order."""

    plan: Plan
    count: int = 0
    _kept: list[Kept] = field(default_factory=list)

    @property
    def on(self) -> bool:
        return any(asks(s, "buffers") for s in self.plan.steps)

    def inputs(self) -> list[Kept]:
        """What is summed before the first step."""
        return [self._keep(self.plan.slots[p.slot], -1) for p in self.plan.inputs if self.plan.slots[p.slot].nbytes] if self.on else []

    def read(self, step: int) -> list[Kept]:
        """What must hold when a step has read its operands."""
        now = self.plan.steps[step]
        decides = [self.plan.exits[int(now.attrs["index"][0])].slot] if now.kernel == "exit" else []
        slots = {k: self.plan.slots[k] for k in (*now.inputs, *decides) if k != ABSENT}
        return list(dict.fromkeys(k for s in slots.values() for k in self.of(s)))

    def written(self, step: int, wanted: bool) -> list[Kept]:
        """What is to be summed of a step's results; sums over what it overwrites are gone."""
        slots = [self.plan.slots[k] for k in dict.fromkeys(self.plan.steps[step].outputs) if k != ABSENT]
        for slot in slots:
            gone = self.of(slot)
            self._kept = [k for k in self._kept if k not in gone]
        return [self._keep(s, step) for s in slots if s.nbytes] if wanted else []

    def of(self, slot: Slot) -> list[Kept]:
        """The sums over any of a slot's bytes."""
        if slot.place == "input":
            return [k for k in self._kept if (k.place, k.offset) == ("input", slot.offset)]
        end = slot.offset + slot.nbytes
        return [k for k in self._kept if k.place == slot.place == "arena" and k.offset < end and slot.offset < k.offset + k.nbytes]

    def _keep(self, slot: Slot, step: int) -> Kept:
        kept = Kept(self.count, slot.place, slot.offset, slot.nbytes, step)
        self._kept.append(kept)
        self.count += 1
        return kept
