"""From places to one list of faults: how many each place gets, and which ones.

A site is a headline stratum: its number of faults comes from the margin asked for (`stats.sample_size`, population: every bit of every
place on every input) and is shared over the steps in proportion to their size, each step getting a minimum. Inside a place the bits take
turns, so that every stratum step × site × bit is sampled alike; models take turns as in `models.MIX`. Draws are digests of
(seed, place, number): a list depends on nothing but the plan, and a longer list begins with the shorter one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from edgerun_tools.faults import models, stats
from edgerun_tools.faults.models import BITS, FLOW, FOREVER, MIX, STUCK, Planned
from edgerun_tools.faults.places import Place

LEAST = 10
"""Faults that every place of a site gets (or all there are), so that no step goes untested."""


@dataclass(frozen=True)
class Design:
    """What decides a fault list, with the places. inputs: how many there are; least: faults of every place, at least."""

    seed: int
    inputs: int
    margin: float = 0.01
    confidence: float = 0.95
    models: tuple[str, ...] = tuple(BITS)
    least: int = LEAST


def quotas(places: Sequence[Place], design: Design) -> dict[Place, int]:
    """How many faults each place gets."""
    result: dict[Place, int] = {}
    for site in dict.fromkeys(p.site for p in places):
        mine = [p for p in places if p.site == site]
        population = sum(p.faults for p in mine) * design.inputs
        wanted = stats.sample_size(population, design.margin, design.confidence)
        result |= shared(mine, wanted, design)
    return result


def shared(places: Sequence[Place], wanted: int, design: Design) -> dict[Place, int]:
    """`wanted` faults over the places of one site in proportion to their size (largest remainders), none below the minimum."""
    total = sum(p.faults for p in places)
    if not total:
        return dict.fromkeys(places, 0)
    exact = {p: wanted * p.faults / total for p in places}
    given = {p: int(e) for p, e in exact.items()}
    rest = sorted(places, key=lambda p: (given[p] - exact[p], p.step))
    for p in rest[: wanted - sum(given.values())]:
        given[p] += 1
    return {p: min(p.faults * design.inputs, max(n, design.least)) for p, n in given.items()}


def faults(numbers: dict[Place, int], design: Design, *, before: dict[Place, int] | None = None, first: int = 0) -> list[Planned]:
    """The list, in random order: any beginning of it is a sample of the whole. before: faults of each place that earlier
    lists hold; first: the number (id) of the first fault."""
    drawn = [f for place, n in numbers.items() for f in _of_place(place, n, (before or {}).get(place, 0), design)]
    drawn.sort(key=lambda f: _digest(design.seed, "order", *vars(f).values()))
    return [models.numbered(f, first + k) for k, f in enumerate(drawn)]


def _of_place(place: Place, wanted: int, skip: int, design: Design) -> Iterator[Planned]:
    """Faults number `skip` to `skip + wanted` of a place: distinct ones, as far as there are."""
    mix = [m for m in MIX if m in design.models] or ["bit"]
    bits = sorted(range(place.bits), key=lambda b: _digest(design.seed, place.site, place.step, "bit", b))
    seen: set[Planned] = set()
    turns: Counter[str] = Counter()
    for k in range(skip + wanted):
        model = place.site if place.site in FLOW else mix[(k + place.step) % len(mix)]
        fault = next((f for f in _draws(place, k, model, bits, turns[model], design) if f not in seen), None)
        if fault is None:
            return
        turns[model] += 1
        seen.add(fault)
        if k >= skip:
            yield fault


def _draws(place: Place, k: int, model: str, bits: Sequence[int], turn: int, design: Design) -> Iterable[Planned]:
    """Candidates for fault number k, the drawn one first; where that is taken the ones beside it, as long as there are others."""
    values = max(1, place.elements) * design.inputs
    chance, begin = divmod(_digest(design.seed, place.site, place.step, k), values)
    for attempt in range(values * max(1, place.bits)):
        number, index = divmod((begin + attempt) % values, max(1, place.elements))
        index *= place.stride
        if model in FLOW:
            yield Planned(0, place.site, place.step, index, 0, "flip", 1, model, -1, number)
            continue
        mask = models.mask_of(model, bits[(turn + attempt // values) % place.bits], place.bits, chance)
        lowest = (mask & -mask).bit_length() - 1
        runs = FOREVER if model in STUCK else 1
        yield Planned(0, place.site, place.step, index, mask, STUCK.get(model, "flip"), runs, model, lowest, number)


def _digest(*parts: object) -> int:
    """A number of 512 random bits that these parts always give, in every version of every library."""
    return int.from_bytes(blake2b("/".join(map(str, parts)).encode()).digest(), "big")
