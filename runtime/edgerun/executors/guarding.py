"""The checks weights, flow, buffers and duplicate as the Python executor performs them: what the engine's guard_*.cpp do, in readable
form. The sums are zlib's CRC-32 here; nobody compares those of one executor with those of another."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun.executors.base import Finding
from edgerun.planner.plan import ABSENT, Plan, Slot, Step

Array = np.ndarray[Any, Any]
Place = tuple[str, int, int]
BLOCK = 4096
"""Bytes of weights that share one CRC."""
BYTES_PER_NS = 1.0
"""How fast zlib is, for the share of a run's time that weights may take."""


def finding(plan: Plan, check: str, step: int, index: int, expected: float = np.nan, got: float = np.nan) -> Finding:
    s = plan.steps[step]
    return Finding(step, s.node, s.op, s.kernel, check, index, expected, got, 0.0 if check == "duplicate" else np.nan)


def asks(step: Step, kind: str) -> bool:
    """Whether the step carries a check of this kind."""
    return any(c.kind == kind for c in step.checks)


@dataclass
class Weights:
    """CRCs over the constants that steps read, in blocks; a constant that several steps read belongs to the first.

    slots: the executor's arrays by slot index, whose bytes are verified; budget: bytes verified in every run, 0: as many as the
    plan's share of its time allows."""

    plan: Plan
    slots: list[Array | None]
    budget: int = 0
    _blocks: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # slot, offset, CRC, step, index
    _next: int = 0
    _credit: float = 0.0

    def __post_init__(self) -> None:
        known = set()
        self._share = max((c.bound for s in self.plan.steps for c in s.checks if c.kind == "weights"), default=0.0)
        for k in range(len(self.plan.steps) if self._share else 0):
            index = 0
            for i in self._constants(k):
                if self.plan.slots[i].offset in known:
                    continue
                known.add(self.plan.slots[i].offset)
                for at in range(0, self.plan.slots[i].nbytes, BLOCK):
                    self._blocks.append((i, at, _crc(self._block(i, at)), k, index))
                    index += 1

    def some(self, last_ns: int) -> list[Finding]:
        """Verify this run's share; last_ns: what the run before took."""
        self._credit = min(self._credit + (self.budget or self._share * last_ns * BYTES_PER_NS), len(self._blocks) * BLOCK)
        found: list[Finding] = []
        while self._blocks and self._credit >= BLOCK:
            self._credit -= BLOCK
            found += self._verify(self._next)
            self._next = (self._next + 1) % len(self._blocks)
        return found

    def all(self) -> list[Finding]:
        return [f for k in range(len(self._blocks)) for f in self._verify(k)]

    def restore(self, step: int) -> bool:
        """Read the plan's own constants again where `step` reads others. Whether all of them hold now."""
        read = {self.plan.slots[i].offset for i in self._constants(step)}
        for k, slot in enumerate(self.plan.slots):
            if slot.place == "const" and slot.offset in read:
                self.slots[k] = self.plan.constants[slot.offset].reshape(slot.shape)
        return not any(self._verify(k) for k, b in enumerate(self._blocks) if self.plan.slots[b[0]].offset in read)

    def _constants(self, step: int) -> list[int]:
        return [i for i in self.plan.steps[step].inputs if i != ABSENT and self.plan.slots[i].place == "const"]

    def _block(self, slot: int, at: int) -> Array:
        array = self.slots[slot]
        assert array is not None
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)[at : at + BLOCK]

    def _verify(self, k: int) -> list[Finding]:
        slot, at, crc, step, index = self._blocks[k]
        return [] if _crc(self._block(slot, at)) == crc else [finding(self.plan, "weights", step, index)]


@dataclass
class Flow:
    """The steps that were done, against those that the plan asks for along the branches that its conditions choose."""

    plan: Plan
    _done: list[int] = field(default_factory=list)
    _expected: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on = any(asks(s, "flow") for s in self.plan.steps)

    def begin(self) -> None:
        self._done, self._expected = [], []

    def did(self, step: int) -> None:
        self._done.append(step)

    def went(self, step: int, following: int) -> None:
        """`step`, a branch or jump, was done; the plan goes on with `following`."""
        self._reach(step + 1)
        self._expected.append(-1 - following)

    def check(self, step: int, end: int) -> list[Finding]:
        """Whether all that comes before `end` was done; `step` says so in the finding."""
        if not self.on:
            return []
        self._reach(end)
        wanted = [k for k in self._expected if k >= 0]
        if self._done == wanted:
            return []
        count = len(self._done)
        self._done = wanted  # told once
        return [finding(self.plan, "flow", step, count)]

    def _reach(self, end: int) -> None:
        last = self._expected[-1] if self._expected else -1
        self._expected += range(last + 1 if last >= 0 else -1 - last, end)


@dataclass
class Buffers:
    """CRCs over what steps write, formed when it is written; inputs from the begin of a run. Compared after every step that reads
    it, so that all the time is covered in which the step could have read something else; before it, where the step writes over it or
    decides by it (the engine: after the last of the steps that read it).

    slots: the executor's arrays by slot index; arena: the bytes of those in the arena."""

    plan: Plan
    slots: list[Array | None]
    arena: Array
    _sums: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """Bytes → their CRC, the step that wrote them (-1: an input)."""

    def __post_init__(self) -> None:
        self.on = any(asks(s, "buffers") for s in self.plan.steps)

    def begin(self, inputs: Sequence[Array]) -> None:
        self._sums = {("input", k, a.nbytes): (_crc(a), -1) for k, a in enumerate(inputs)} if self.on else {}

    def before(self, index: int) -> list[Finding]:
        """Before a step, which takes the sums of what it overwrites away."""
        step = self.plan.steps[index]
        gone = [p for k in step.outputs for p in self._of(k)]
        found = [f for k in self._read(index) for f in self._verify(k, index, gone if step.outputs else None)]
        for place in gone:
            self._sums.pop(place, None)
        return found

    def after(self, index: int) -> list[Finding]:
        """After a step that computes."""
        found = [f for k in self._read(index) for f in self._verify(k, index, None)]
        if asks(self.plan.steps[index], "buffers"):
            self._sums |= {_place(self.plan.slots[k]): (_crc(self._array(k)), index) for k in self.plan.steps[index].outputs}
        return found

    def output(self, slot: int) -> list[Finding]:
        """Before an output is handed out."""
        return self._verify(slot, len(self.plan.steps) - 1, None)

    def _read(self, index: int) -> dict[int, None]:
        step = self.plan.steps[index]
        read = [k for k in step.inputs if k != ABSENT]
        if step.kernel == "exit":
            read.append(self.plan.exits[int(step.attrs["index"][0])].slot)
        return dict.fromkeys(read)

    def _verify(self, slot: int, reader: int, only: Sequence[Place] | None) -> list[Finding]:
        found = []
        for place in self._of(slot):
            if only is not None and place not in only:
                continue
            crc, writer = self._sums[place]
            now = _crc(self._array(slot) if place[0] == "input" else self.arena[place[1] : place[1] + place[2]])
            if now != crc:
                self._sums[place] = now, writer  # told once
                found.append(finding(self.plan, "buffers", writer if writer >= 0 else reader, 0))
        return found

    def _array(self, slot: int) -> Array:
        array = self.slots[slot]
        assert array is not None
        return array

    def _of(self, slot: int) -> list[Place]:
        kind, begin, size = _place(self.plan.slots[slot])
        if kind == "input":
            return [p for p in self._sums if p[:2] == (kind, begin)]
        return [p for p in self._sums if p[0] == kind and p[1] < begin + size and begin < p[1] + p[2]]


def differing(again: Sequence[Array], results: Sequence[Array]) -> tuple[int, float, float] | None:
    """Where (counted over all outputs), expected and got, if the results of doing a step twice differ in any bit."""
    before = 0
    for expected, got in zip(again, results, strict=True):
        size = expected.dtype.itemsize
        a, b = (np.ascontiguousarray(v).reshape(-1).view(np.uint8).reshape(-1, size) for v in (expected, got))
        wrong = (a != b).any(axis=1)
        if wrong.any():
            k = int(np.argmax(wrong))
            return before + k, float(expected.reshape(-1)[k]), float(got.reshape(-1)[k])
        before += expected.size
    return None


def _place(slot: Slot) -> Place:
    return slot.place, slot.offset, slot.nbytes


def _crc(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
