"""Coordinate ascent of the empirical J = mean(correct) - beta_opt * mean(cost) over a policy's numbers.

Backward induction is optimal only under its Markov approximation; here one number at a time (a base threshold, a table
cell, a class factor, beta) moves to the best value on the calibration records with all others fixed. With the rest fixed
a sample either leaves at the exit in question or earns what the later exits give it, so one sort and one cumulative sum
score every candidate value exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgerun.exits.records import SCORE_STEP, Array, Records
from edgerun.planner.decide import NEVER

GRID = np.concatenate([np.arange(0.02, 0.99, 0.02), [0.985, 0.99, 0.995, 0.9975]])
"""Quantiles of the score that are tried as thresholds, besides "always" (0) and "never"."""
BETAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
CLASS_LOW, CLASS_HIGH = 0.1, 2.0


@dataclass
class View:
    """What the search looks at: score [E,N], correct [E,N] in [0,1] (`Records.rightness`), predicted [E,N], alpha [N],
    costs [E]."""

    score: Array
    correct: Array
    predicted: NDArray[np.int64]
    alpha: Array
    costs: Array
    levels: Array = field(init=False)

    def __post_init__(self) -> None:
        # Between two steps, where rounding decides for no score: many lie within an ulp of 1, where float32 ends.
        self.levels = (np.floor(np.quantile(self.score[:-1], GRID, axis=1).T / SCORE_STEP) + 0.5) * SCORE_STEP

    @classmethod
    def of(cls, records: Records, mix: float = 0.0, temperature: tuple[float, ...] = ()) -> View:
        return cls(records.scores(mix, temperature), records.rightness(), records.predicted,
                   np.asarray(records.alpha, np.float64), np.asarray(records.costs, np.float64))


@dataclass
class Rule:
    """Eq. 19 in arrays: leave at i when score > coeff[i,class] * base[i,bin] + beta * alpha; base > 1 is never.

    base: [E-1,A] with the bin of each sample in `column` [N] (A = 1: one threshold an exit); coeff: [E-1,K].
    """

    base: Array
    coeff: Array
    beta: float
    column: NDArray[np.int64]

    def copy(self) -> Rule:
        return Rule(self.base.copy(), self.coeff.copy(), self.beta, self.column)

    def threshold(self, view: View, i: int) -> Array:
        """What each sample has to exceed at exit i, [N]."""
        base = self.base[i, self.column]
        t = np.clip(self.coeff[i, view.predicted[i]] * base + self.beta * view.alpha, 0.0, 1.0)
        return np.where(base > 1.0, NEVER, t)

    def stops(self, view: View, i: int) -> NDArray[np.bool_]:
        """Who would leave at exit i, [N]."""
        return np.asarray(view.score[i] > self.threshold(view, i))


def objective(rule: Rule, view: View, beta_opt: float) -> float:
    """J of a rule on the records."""
    return float(_later(_all_stops(rule, view), view, beta_opt, -1).mean())


def polish(rule: Rule, view: View, beta_opt: float, *, betas: tuple[float, ...] = BETAS, classes: bool = False,
           shrink: float = 5.0, sweeps: int = 6) -> Rule:
    """Best rule found from `rule` on. betas: values of beta to try; classes: also fit class factors, each of which must
    earn more than `shrink` samples' worth per unit of |log factor| to move away from 1."""
    best, best_j = None, -np.inf
    for beta in sorted({rule.beta, *betas}):
        trial = rule.copy()
        trial.beta = beta
        j = _ascend(trial, view, beta_opt, sweeps)
        if j > best_j + 1e-12:
            best, best_j = trial, j
    assert best is not None
    if classes:
        for _ in range(2):
            for i in range(best.base.shape[0]):
                _class_factors(best, view, beta_opt, i, shrink, _all_stops(best, view))
            _ascend(best, view, beta_opt, 2)
    return best


def _ascend(rule: Rule, view: View, beta_opt: float, sweeps: int) -> float:
    stops = _all_stops(rule, view)
    j = float(_later(stops, view, beta_opt, -1).mean())
    for _ in range(sweeps):
        for i in range(rule.base.shape[0] - 1, -1, -1):
            _thresholds(rule, view, beta_opt, i, stops)
            stops[i] = rule.stops(view, i)
        before, j = j, float(_later(stops, view, beta_opt, -1).mean())
        if j <= before + 1e-12:
            break
    return j


def _all_stops(rule: Rule, view: View) -> list[NDArray[np.bool_]]:
    return [rule.stops(view, i) for i in range(rule.base.shape[0])]


def _later(stops: list[NDArray[np.bool_]], view: View, beta_opt: float, i: int) -> Array:
    """Reward [N] of a sample that goes on after exit i (-1: from the start)."""
    reward = view.correct[-1] - beta_opt * view.costs[-1]
    for later in range(len(stops) - 1, i, -1):
        reward = np.where(stops[later], view.correct[later] - beta_opt * view.costs[later], reward)
    return np.asarray(reward)


def _gain(stops: list[NDArray[np.bool_]], view: View, beta_opt: float, i: int) -> tuple[NDArray[np.bool_], Array]:
    """Which samples reach exit i, [N], and what leaving there earns over going on, [N]."""
    reach = np.ones(view.score.shape[1], bool)
    for earlier in range(i):
        reach &= ~stops[earlier]
    return reach, view.correct[i] - beta_opt * view.costs[i] - _later(stops, view, beta_opt, i)


def _thresholds(rule: Rule, view: View, beta_opt: float, i: int, stops: list[NDArray[np.bool_]]) -> None:
    """Move base[i,·] to its best values."""
    reach, gain = _gain(stops, view, beta_opt, i)
    margin = (view.score[i] - rule.beta * view.alpha) / rule.coeff[i, view.predicted[i]]
    levels = np.concatenate([[0.0], view.levels[i] - rule.beta * float(view.alpha.mean())])
    levels = np.unique(np.clip(levels, 0.0, 1.0))
    for a in range(rule.base.shape[1]):
        of_bin = reach & (rule.column == a)
        now = min(float(rule.base[i, a]), 1.0)
        # at a base of 0 everybody leaves whose threshold the rest of the rule does not lift above the score
        tried = np.append(levels, now)
        totals = _totals(margin[of_bin], gain[of_bin], tried)
        pick = _argmax_high(tried, totals)
        rule.base[i, a] = tried[pick] if totals[pick] > 1e-12 else NEVER


def _class_factors(rule: Rule, view: View, beta_opt: float, i: int, shrink: float, stops: list[NDArray[np.bool_]]) -> None:
    reach, gain = _gain(stops, view, beta_opt, i)
    for k in range(rule.coeff.shape[1]):
        chosen = reach & (view.predicted[i] == k)
        base = rule.base[i, rule.column]
        chosen &= (base > 1e-6) & (base <= 1.0)
        if chosen.sum() < 20:
            continue
        margin = (view.score[i][chosen] - rule.beta * view.alpha[chosen]) / base[chosen]
        tried = np.unique(np.clip(np.append(np.quantile(margin, GRID), 1.0), CLASS_LOW, CLASS_HIGH))
        totals = _totals(margin, gain[chosen], tried) - shrink * np.abs(np.log(tried))
        rule.coeff[i, k] = tried[_argmax_high(tried, totals)]


def _totals(margin: Array, gain: Array, tried: Array) -> Array:
    """Sum of the gains of all samples whose margin exceeds each tried value."""
    order = np.argsort(margin)
    below = np.concatenate([[0.0], np.cumsum(gain[order])])
    return np.asarray(below[-1] - below[np.searchsorted(margin[order], tried, side="right")])


def _argmax_high(tried: Array, totals: Array) -> int:
    """Index of the best total; of equals, the highest (most careful) value."""
    return int(np.argmax(np.where(totals >= totals.max() - 1e-9, tried, -np.inf)))
