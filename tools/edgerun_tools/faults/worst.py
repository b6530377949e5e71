"""The weight flips that hurt most: a bit-flip attack without gradients.

As in the attacks on quantised networks (Rakin, He, Fan: "Bit-Flip Attack", ICCV 2019) the flips are the ones that lower the margin of
the right class most, over a few inputs. There gradients propose them; here candidates are the most significant bits (int8: the sign,
float32: the highest exponent bits) of drawn weights of every step, tried one after the other in the running engine, and the neighbourhood
of the best ones is searched again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgerun import Session
from edgerun.executors.base import Fault
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.places import Place
from edgerun_tools.faults.target import Answer, Feeds, observe

SHARE = 8
"""Inputs that a candidate is tried on."""
CANDIDATES = 48
"""Weights of every step that are tried before the search narrows down."""
TOP_BITS = {8: (7, 6), 16: (15, 14), 32: (30, 29, 28)}
"""Bits that change a value most, by width."""
Tick = Callable[[int, int], None]


def search(session: Session, places: Sequence[Place], inputs: Sequence[Feeds], labels: Sequence[int], wanted: int, seed: int,
           tick: Tick = lambda done, of: None) -> list[Planned]:
    """`wanted` flips, worst first, inputs taking turns. session: of the preset without checks."""
    rng = np.random.default_rng(seed)
    places = [p for p in places if p.site == "weights" and p.bits in TOP_BITS]
    drawn = [(p, int(i), b) for p in places for i in rng.integers(0, p.elements, CANDIDATES) for b in TOP_BITS[p.bits][:1]]
    scored: dict[tuple[Place, int, int], float] = {}
    for k, candidate in enumerate(drawn):
        scored[candidate] = damage(session, *candidate, inputs[:SHARE], labels)
        tick(k + 1, len(drawn))
    best = sorted(scored, key=lambda c: -scored[c])[: max(wanted, 8)]
    beside = {(p, i + d, b) for p, i, _ in best for d in (-1, 0, 1) for b in TOP_BITS[p.bits] if 0 <= i + d < p.elements} - set(scored)
    for candidate in sorted(beside, key=lambda c: (c[0].step, c[1], c[2])):
        scored[candidate] = damage(session, *candidate, inputs[:SHARE], labels)
    order = sorted(scored, key=lambda c: (-scored[c], c[0].step, c[1], c[2]))[:wanted]
    return [Planned(0, "weights", p.step, i * p.stride, 1 << b, "flip", 1, "worst", b, k % len(inputs))
            for k, (p, i, b) in enumerate(order)]


def damage(session: Session, place: Place, index: int, bit: int, inputs: Sequence[Feeds], labels: Sequence[int]) -> float:
    """How far the right class falls behind the best other one, summed over inputs; each counts at most as much as a crash."""
    session.inject(Fault("weights", place.step, index * place.stride, 1 << bit))
    try:
        return sum(_behind(observe(session, feeds), label) for feeds, label in zip(inputs, labels, strict=False))
    finally:
        session.heal()


def _behind(answer: Answer, label: int) -> float:
    if answer.error or answer.answer < 0:
        return 1.0
    scores = np.concatenate([v.reshape(-1) for v in answer.values[-1:]]).astype(np.float64)
    if label >= scores.size:
        return 0.0
    others = np.delete(scores, label)
    spread = float(np.abs(scores).max()) or 1.0
    return float(np.clip((others.max() - scores[label]) / spread, -1, 1))
