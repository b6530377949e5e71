"""Choosing a policy's operating point so that it also holds on images it has not seen.

A family of policies is a function from (records, knob) to tables; the knob moves along the accuracy/cost front. Each knob
is judged by cross-validation: tables fitted on four fifths of the calibration split decide the other fifth, so no image
judges tables it helped to fit. The loss against the last exit is a paired difference; its upper bound must stay within the
allowed loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgerun.exits.records import Records, folds
from edgerun.exits.simulate import leave_at, outcome
from edgerun.planner.decide import NEVER
from edgerun.planner.plan import Floats, Policy

FOLDS = 5
SAFETY = 1.0
"""Standard errors added to the estimated loss before it is compared with the allowed one (84 % one-sided)."""

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, of)."""


class Family(Protocol):
    """Tables as a function of one knob. `knobs` runs from careful to bold."""

    @property
    def name(self) -> str: ...

    @property
    def knobs(self) -> tuple[float, ...]: ...

    def on(self, records: Records) -> Callable[[float], Policy]:
        """The function from the knob to the tables fitted on these records."""


@dataclass(frozen=True)
class Point:
    """One knob's cross-validated result. accuracy in [0,1]; cost relative to the last exit; loss (points of accuracy
    against the last exit) and its standard error; agreement: share of the early leavers whose answer the last exit shares
    (1 when nobody leaves early)."""

    knob: float
    accuracy: float
    cost: float
    loss: float
    error: float
    agreement: float = 1.0

    def bound(self, safety: float = SAFETY) -> float:
        """Loss in points that is not exceeded, `safety` standard errors above the estimate."""
        return self.loss + safety * self.error


@dataclass(frozen=True)
class Tuned:
    """A family with its operating point. policy: tables fitted on all records; point: what cross-validation expects of
    it; front: (point, tables fitted on all records) of every knob."""

    family: str
    policy: Policy
    point: Point
    front: tuple[tuple[Point, Policy], ...]


def judge(family: Family, records: Records, knobs: tuple[float, ...] = (), seed: int = 0,
          tick: Callable[[], None] | None = None) -> list[Point]:
    """Cross-validated points of a family, one for each knob."""
    knobs = knobs or family.knobs
    leave = np.zeros((len(knobs), len(records)), np.int64)
    for fit, held in folds(len(records), FOLDS, seed):
        train, test = records.take(fit), records.take(held)
        tables = family.on(train)
        for j, knob in enumerate(knobs):
            leave[j, held] = leave_at(tables(knob), test)
            if tick:
                tick()
    return [point(knob, row, records) for knob, row in zip(knobs, leave, strict=True)]


def point(knob: float, leave: NDArray[np.int64], records: Records) -> Point:
    """The point of known exits leave[N]."""
    o = outcome(leave, records)
    n = len(records)
    lost = records.correct[-1].astype(np.int64) - o.correct
    # one more disagreement than was seen: a split that shows none does not prove that there are none
    error = 100 * float(np.sqrt(max(np.abs(lost).sum() + 1 - n * lost.mean() ** 2, 0.0))) / n
    early = leave < records.exits - 1
    if not early.any():
        return Point(knob, o.accuracy, o.cost, 0.0, 0.0)  # nobody leaves early: there is nothing to lose
    answers = records.predicted
    same = answers[leave, np.arange(n)] == answers[-1]
    return Point(knob, o.accuracy, o.cost, 100 * float(lost.mean()), error, float(same[early].mean()))


def tune(family: Family, records: Records, max_loss: float, *, knob: float | None = None, safety: float = SAFETY,
         seed: int = 0, tick: Callable[[], None] | None = None) -> Tuned:
    """The cheapest knob whose loss bound stays within `max_loss` points (or the given knob), and the whole front.

    Where no knob keeps within, the policy never leaves early.
    """
    knobs = family.knobs if knob is None else tuple(sorted({*family.knobs, knob}))
    points = judge(family, records, knobs, seed, tick)
    tables = family.on(records)
    front = tuple((p, tables(p.knob)) for p in points)
    if knob is not None:
        chosen = next(pair for pair in front if pair[0].knob == knob)
        return Tuned(family.name, chosen[1], chosen[0], front)
    legal = [pair for pair in front if pair[0].bound(safety) <= max_loss]
    if not legal:  # not even the most careful knob
        stay = point(float("nan"), np.full(len(records), records.exits - 1), records)
        return Tuned(family.name, Policy(), stay, front)
    chosen = min(legal, key=lambda pair: pair[0].cost)
    bolder = [p for p, _ in front if p.cost < chosen[0].cost]
    if bolder:
        between = Between(family, chosen[0].knob, max(bolder, key=lambda p: p.cost).knob)
        tables = between.on(records)
        legal += [(p, tables(p.knob)) for p in judge(between, records, (), seed, tick) if p.bound(safety) <= max_loss]
    least = min(p.cost for p, _ in legal)
    near = [pair for pair in legal if pair[0].cost <= 1.01 * least]  # not worth a loss: a cost within 1 % of the least
    chosen = min(near, key=lambda pair: (pair[0].bound(safety), pair[0].cost))
    return Tuned(family.name, chosen[1], chosen[0], front)


@dataclass(frozen=True)
class Between:
    """Tables between those of two knobs of a family; its own knob is the way from one to the other. The optimum of J jumps
    from vertex to vertex of the front; between them lie operating points that use an allowed loss to the full."""

    family: Family
    careful: float
    bold: float
    knobs: tuple[float, ...] = tuple(j / 10 for j in range(1, 10))

    @property
    def name(self) -> str:
        return self.family.name

    def on(self, records: Records) -> Callable[[float], Policy]:
        """The function from the way (0: careful, 1: bold) to the tables."""
        tables = self.family.on(records)
        careful, bold = tables(self.careful), tables(self.bold)
        return lambda way: blend(careful, bold, way)


def blend(a: Policy, b: Policy, way: float) -> Policy:
    """Thresholds on the way from a to b, on the log-odds scale; beta and class factors linearly. Same kind and shape."""

    def mid(x: float, y: float) -> float:
        if min(x, y) > 1.0:
            return NEVER
        u, v = (float(np.log(t / (1 - t))) for t in np.clip([x, y], 1e-7, 1 - 1e-7))
        return float(1 / (1 + np.exp(-((1 - way) * u + way * v))))

    def rows(x: tuple[Floats, ...], y: tuple[Floats, ...]) -> tuple[Floats, ...]:
        return tuple(tuple(map(mid, p, q)) for p, q in zip(x, y, strict=True))

    return replace(a, thresholds=tuple(map(mid, a.thresholds, b.thresholds)), table=rows(a.table, b.table),
                   beta=(1 - way) * a.beta + way * b.beta,
                   coeff=tuple(tuple((1 - way) * p + way * q for p, q in zip(r, s, strict=True))
                               for r, s in zip(a.coeff, b.coeff, strict=True)))


def cost_at(points: list[Point], losses: tuple[float, ...], safety: float = 0.0) -> float:
    """Mean cost that a front needs to stay within each of some losses (points), between its points linearly. Never leaving
    early (no loss, cost 1) belongs to every front."""
    hull = sorted((p.bound(safety), p.cost) for p in points)
    reach = [(0.0, 1.0)] if hull[0][0] > 0 else []
    for loss, cost in hull:
        if not reach or cost < reach[-1][1]:
            reach.append((loss, cost))
    xs, ys = [r[0] for r in reach], [r[1] for r in reach]
    return float(np.mean([np.interp(v, xs, ys) if v >= xs[0] else 1.0 for v in losses]))
