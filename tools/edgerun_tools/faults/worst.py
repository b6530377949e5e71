"""The weight flips that hurt most: a bit-flip attack without gradients.

As in the attacks on quantised networks (Rakin, He, Fan: "Bit-Flip Attack", ICCV 2019) the flips are the ones that lower the margin of
the right class most, over a few inputs. There gradients propose them; here candidates are the most significant bits (int8: the sign,
float32: the highest exponent bits) of drawn weights of every step, tried one after the other in the running engine, and the neighbourhood
of the best ones is searched again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgerun_tools.faults.models import Planned, numbered
from edgerun_tools.faults.places import Place

CANDIDATES = 48
"""Weights of every step that are tried before the search narrows down."""
TOP_BITS = {8: (7, 6), 16: (15, 14), 32: (30, 29, 28)}
"""Bits that change a value most, by width."""
Spot = tuple[Place, int, int]
"""Weight number `index` of a place, and the bit."""


def search(damage: Callable[[Sequence[Planned]], Sequence[float]], places: Sequence[Place], inputs: int, wanted: int, seed: int,
           first: int) -> list[Planned]:
    """`wanted` flips, worst first, inputs taking turns; ids from `first` on. damage: what each of some flips does (Bench.damage)."""
    rng = np.random.default_rng(seed)
    places = [p for p in places if p.site == "weights" and p.bits in TOP_BITS]
    drawn = dict.fromkeys((p, int(i), TOP_BITS[p.bits][0]) for p in places for i in rng.integers(0, p.elements, CANDIDATES))
    scored = dict(zip(drawn, damage([_flip(s) for s in drawn]), strict=True))
    best = sorted(scored, key=lambda s: -scored[s])[: max(wanted, 8)]
    beside = {(p, i + d, b) for p, i, _ in best for d in (-1, 0, 1) for b in TOP_BITS[p.bits] if 0 <= i + d < p.elements} - set(scored)
    around = sorted(beside, key=_order)
    scored |= dict(zip(around, damage([_flip(s) for s in around]), strict=True))
    order = sorted(scored, key=lambda s: (-scored[s], *_order(s)))[:wanted]
    return [numbered(_flip(s, k % inputs), first + k) for k, s in enumerate(order)]


def _flip(spot: Spot, number: int = 0) -> Planned:
    place, index, bit = spot
    return Planned(0, "weights", place.step, index * place.stride, 1 << bit, "flip", 1, "worst", bit, number)


def _order(spot: Spot) -> tuple[int, int, int]:
    return spot[0].step, spot[1], spot[2]
