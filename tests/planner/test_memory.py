"""The arena: nothing that is still needed is overwritten, everything is aligned, in-place results take over dying operands."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun.planner.memory import place
from edgerun.planner.plan import ALIGNMENT
from edgerun.planner.select import DraftSlot, DraftStep


def slots(*sizes: int) -> list[DraftSlot]:
    """Arena slots of so many floats."""
    return [DraftSlot(f"s{k}", "f32", (n,), "arena", -1, k) for k, n in enumerate(sizes)]


def chain(n: int, in_place: bool = False) -> list[DraftStep]:
    """s0 → s1 → … → sn; s0 is written by the first step."""
    return [DraftStep("k", [k - 1] if k else [], [k], {}, in_place=in_place) for k in range(n)]


def test_a_chain_needs_two_buffers() -> None:
    _, arena, _ = place(slots(*[16] * 6), chain(6), [5])
    assert arena == 2 * 64


def test_an_elementwise_chain_needs_one_buffer() -> None:
    offsets, arena, _ = place(slots(*[16] * 6), chain(6, in_place=True), [5])
    assert arena == 64
    assert set(offsets.values()) == {0}


def test_a_kept_slot_is_never_overwritten() -> None:
    offsets, _, _ = place(slots(*[16] * 6), chain(6, in_place=True), [0, 5])
    assert offsets[0] not in {offsets[k] for k in range(1, 6)}


def test_an_operand_that_is_used_later_is_not_overwritten() -> None:
    steps = [*chain(2, in_place=True), DraftStep("k", [0, 1], [2], {}, in_place=True)]
    offsets, _, _ = place(slots(16, 16, 16), steps, [2])
    assert offsets[0] != offsets[1]


def test_a_broadcast_operand_is_not_overwritten() -> None:
    steps = [*chain(1), DraftStep("k", [0], [1], {}, in_place=True)]
    offsets, _, _ = place(slots(16, 32), steps, [1])
    assert offsets[0] != offsets[1]


def test_views_share_their_bytes() -> None:
    viewed = [*slots(16, 16), DraftSlot("view", "f32", (4, 4), "arena", -1, 0)]
    offsets, _, _ = place(viewed, [DraftStep("k", [], [0], {}), DraftStep("k", [2], [1], {})], [1])
    assert set(offsets) == {0, 1}
    assert offsets[0] != offsets[1]


def test_a_gap_is_reused_best_fit_first() -> None:
    """a big and a small gap are free when a small tensor comes: it takes the small one."""
    steps = [DraftStep("k", [], [0], {}), DraftStep("k", [], [1], {}), DraftStep("k", [], [2], {}), DraftStep("k", [], [3], {}),
             DraftStep("k", [1, 3, 0, 2], [4], {})]
    _, arena, blocks = place(slots(64, 16, 48, 16, 16), steps, [4])
    assert arena == sum(b.size for b in blocks if b.name != "s4") + 64


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed: int) -> None:
    """Slots that are alive together never share a byte, unless one takes over from the other in place."""
    rng = np.random.default_rng(seed)
    n = 40
    drafts = slots(*rng.choice([1, 16, 40, 100], n))
    steps = [DraftStep("k", sorted({int(i) for i in rng.integers(0, k, 2)}) if k else [], [k], {}, in_place=bool(rng.integers(2)))
             for k in range(n)]
    kept = [int(rng.integers(n)), n - 1]
    offsets, arena, _ = place(drafts, steps, kept)
    last = {k: max([j for j, s in enumerate(steps) if k in s.inputs], default=k) for k in range(n)} | dict.fromkeys(kept, n)
    assert all(o % ALIGNMENT == 0 and o + drafts[k].nbytes <= arena for k, o in offsets.items())
    clashes = [(a, b) for b in range(n) for a in range(b)
               if last[a] >= b and offsets[a] < offsets[b] + drafts[b].nbytes and offsets[b] < offsets[a] + drafts[a].nbytes]
    assert all(last[a] == b and a in steps[b].inputs and steps[b].in_place and drafts[a].shape == drafts[b].shape for a, b in clashes)
