"""Where things lie in RAM: the plan's arena, and scratch in the gaps that a step leaves in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgerun.planner.plan import ABSENT, CONTROL, Plan

ALIGN = 8
"""Bytes; no element that a kernel touches is larger."""


@dataclass
class Memory:
    """Bytes of the arena by step. `plan` gives the tensors their places; scratch comes on top, or in between."""

    plan: Plan
    bytes: int = 0
    scratch_of: dict[int, tuple[int, int]] = field(default_factory=dict)
    _live: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bytes = _round_up(max((s.offset + s.nbytes for s in self.plan.slots if s.place == "arena"), default=0))
        self._live = _lifetimes(self.plan)

    def scratch(self, step: int, size: int) -> int:
        """Offset of `size` bytes that nothing else needs while step number `step` runs; one call a step."""
        busy = sorted((low, high) for first, last, low, high in self._live if first <= step <= last)
        at = 0
        for low, high in busy:
            if low - at >= size:
                break
            at = max(at, _round_up(high))
        self.bytes = max(self.bytes, _round_up(at + size))
        self.scratch_of[step] = (at, size)
        return at


def _round_up(value: int) -> int:
    return -(-value // ALIGN) * ALIGN


def _lifetimes(plan: Plan) -> list[tuple[int, int, int, int]]:
    """(first step, last step, from byte, to byte) of what lies in the arena. In plans that jump everything lives throughout."""
    end = len(plan.steps)
    if any(s.kernel in CONTROL - {"exit"} for s in plan.steps):
        return [(0, end, s.offset, s.offset + s.nbytes) for s in plan.slots if s.place == "arena"]
    ranges = {k: (s.offset, s.offset + s.nbytes) for k, s in enumerate(plan.slots) if s.place == "arena" and s.nbytes}
    reads = [(at, ranges[k]) for at, s in enumerate(plan.steps) for k in s.inputs if k != ABSENT and k in ranges]
    reads += [(end, ranges[p.slot]) for p in plan.outputs if p.slot in ranges]
    reads += [(e.step, ranges[e.slot]) for e in plan.exits if e.slot in ranges]
    reads += [(end, ranges[d.slot]) for d in [plan.difficulty] if d and d.slot in ranges]
    writes = [(at, ranges[k]) for at, s in enumerate(plan.steps) for k in s.outputs if k != ABSENT and k in ranges]
    found = []
    for at, (low, high) in writes:
        over = min((w for w, (a, b) in writes if w > at and a <= low and high <= b), default=end)
        last = max((r for r, (a, b) in reads if at < r <= over and a < high and low < b), default=at)
        found.append((at, last, low, high))
    return found
