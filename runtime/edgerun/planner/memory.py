"""The arena: lifetimes over the linear step order, results written over dying operands, greedy best fit by size.

Branches only jump forward, so the span from the first step that writes a slot to the last that reads it covers every
path.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .plan import ABSENT, ALIGNMENT
from .select import DraftSlot, DraftStep


@dataclass(frozen=True)
class Block:
    """Bytes [offset, offset + size) of the arena hold a slot's data while steps first … last run."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def place(
    slots: Sequence[DraftSlot], steps: Sequence[DraftStep], kept: Collection[int], in_place: bool = True
) -> tuple[dict[int, int], int, list[Block]]:
    """Byte offset of every arena root, arena size, and the map. `kept`: slots whose bytes must survive to the end.
    in_place: whether a result may be written over an operand that dies there; without, any step can be computed again."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for k, step in enumerate(steps):
        for slot in (*step.inputs, *step.outputs):
            if slot != ABSENT and slots[slot].place == "arena":
                root = slots[slot].root
                first.setdefault(root, k)
                last[root] = k
    for slot in kept:
        if slots[slot].place == "arena":
            root = slots[slot].root
            first.setdefault(root, 0)
            last[root] = len(steps)
    size = {root: max(slots[root].nbytes, 1) for root in first}
    same = _in_place(slots, steps, first, last, {slots[s].root for s in kept}) if in_place else {}
    groups: dict[int, list[int]] = {}
    for root in first:
        groups.setdefault(_find(same, root), []).append(root)
    blocks: list[Block] = []
    offsets: dict[int, int] = {}
    spans = {
        leader: (min(first[r] for r in members), max(last[r] for r in members), max(size[r] for r in members))
        for leader, members in groups.items()
    }
    for leader in sorted(spans, key=lambda g: (-spans[g][2], spans[g][0], g)):
        begin, end, need = spans[leader]
        offset = _best_fit([b for b in blocks if b.first <= end and begin <= b.last], need)
        blocks.append(Block(slots[leader].name, offset, need, begin, end))
        offsets.update(dict.fromkeys(groups[leader], offset))
    arena = max((_round(b.offset + b.size) for b in blocks), default=0)
    return offsets, arena, sorted(blocks, key=lambda b: (b.first, b.offset))


def _in_place(
    slots: Sequence[DraftSlot], steps: Sequence[DraftStep], first: dict[int, int], last: dict[int, int], kept: set[int]
) -> dict[int, int]:
    """root → root whose bytes it takes over, for elementwise steps whose operand dies there."""
    same: dict[int, int] = {}
    for k, step in enumerate(steps):
        if not step.in_place or len(step.outputs) != 1:
            continue
        out = slots[step.outputs[0]]
        if first.get(out.root) != k or out.root != step.outputs[0]:
            continue
        operands = [slots[s] for s in step.inputs if s != ABSENT]
        if any(o.shape != out.shape or o.dtype != out.dtype for o in operands):
            continue
        for operand in operands:
            if (
                operand.place == "arena"
                and last[operand.root] == k
                and operand.root not in kept
                and operand.root != out.root
            ):
                same[out.root] = operand.root
                break
    return same


def _find(same: dict[int, int], root: int) -> int:
    while root in same:
        root = same[root]
    return root


def _best_fit(busy: list[Block], need: int) -> int:
    """Offset of the smallest gap that is large enough, else the end."""
    best, best_gap, cursor = -1, 0, 0
    for block in sorted(busy, key=lambda b: b.offset):
        gap = block.offset - cursor
        if gap >= need and (best < 0 or gap < best_gap):
            best, best_gap = cursor, gap
        cursor = max(cursor, _round(block.offset + block.size))
    return cursor if best < 0 else best


def _round(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
