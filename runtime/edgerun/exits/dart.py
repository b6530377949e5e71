"""DART: joint thresholds over all exits, lifted by the input's difficulty (arXiv 2603.12269, Eq. 10-12 and 19).

Leave at the first exit i with  s_i > clip(c_i,k * tau_i + beta * alpha, 0, 1);  a harder input meets a higher threshold.
Fitting: count chances, solve by backward induction, fit Eq. 19 to the solution (`induction`), polish on the records
(`polish`). The score s is chosen too: maximum probability, entropy or a mixture, after each exit's temperature was
fitted, and so is the form (one threshold an exit; plus beta; a table over difficulty; class factors). Plain confidence and
entropy thresholds are members of the family, so the fit cannot do worse than they do, except by overfitting, which is
why every choice is made by cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgerun.exits import induction, tuning
from edgerun.exits.polish import BETAS, Rule, View, objective, polish
from edgerun.exits.records import Array, Records, temperatures
from edgerun.planner.decide import NEVER
from edgerun.planner.plan import Policy

ALPHA_BINS = 6
KNOBS = tuple(float(b) for b in np.geomspace(0.004, 0.5, 24))
"""Values of beta_opt, the price of a full run in accuracy (Eq. 10)."""
SHARED = (0.9999, 0.9995, 0.999, 0.998, 0.996, 0.993, *(round(0.99 - 0.015 * j, 3) for j in range(53)))
"""Shared thresholds tried for confidence and entropy: 0.9999 to 0.21."""
SCORES = ((0.0, 0.0), (1.0, 0.0), (0.4, 0.0), (0.0, 1.0), (0.0, 0.6), (0.0, 0.35), (0.0, 0.2), (1.0, 0.5))
"""Scores tried: (mix, heat), heat being a multiple of the fitted temperature, or 0 for the scores as the model gives them.
What counts at an exit is not whether it is right but whether the last exit would be right where it is wrong; a low
temperature, which ranks by the margin between the two best classes, tells that better than the best probability does."""


@dataclass(frozen=True)
class Form:
    """One shape of threshold tables; a tuning.Family with beta_opt as its knob.

    mix, heat: the score (plan.Policy.mix; temperature = heat * fitted, heat 0 = 1 everywhere); betas: slopes tried;
    bins: difficulty bins of a table (0: no table); classes: class factors; kind: what the tables are for.
    """

    mix: float = 0.0
    heat: float = 0.0
    betas: tuple[float, ...] = (0.0,)
    bins: int = 0
    classes: bool = False
    kind: str = "dart"
    knobs: tuple[float, ...] = KNOBS

    @property
    def name(self) -> str:
        score = {0.0: "max p", 1.0: "entropy"}.get(self.mix, f"mix {self.mix:g}")
        parts = [score, f"T x{self.heat:g}" if self.heat else "", "beta" if len(self.betas) > 1 else "",
                 f"table of {self.bins}" if self.bins else "", "classes" if self.classes else ""]
        return ", ".join(p for p in parts if p)

    def on(self, records: Records) -> Callable[[float], Policy]:
        """The function from beta_opt to the tables that maximise J on these records."""
        heat = tuple(self.heat * t for t in temperatures(records)) if self.heat else ()
        view = View.of(records, self.mix, heat)
        chances = induction.count(view.score, view.correct, view.alpha, self.bins or ALPHA_BINS)
        edges = chances.alpha_edges if self.bins else np.empty(0)
        column = np.searchsorted(edges, view.alpha, side="right")
        coeff = np.ones((records.exits - 1, records.logits.shape[2]))

        def fit(knob: float) -> Policy:
            tau, _ = induction.solve(chances, view.costs, knob)
            never = np.full((len(tau), len(edges) + 1), NEVER)
            rules = [polish(Rule(base, coeff.copy(), beta, column), view, knob, betas=self.betas, classes=self.classes)
                     for base, beta in ((never, 0.0), *self._solution(tau, chances))]
            return self._tables(max(rules, key=lambda r: objective(r, view, knob)), heat, edges)

        return fit

    def _solution(self, tau: Array, chances: induction.Chances) -> list[tuple[Array, float]]:
        """The induction's solution as this form can hold it: base thresholds and beta to start polishing from."""
        if self.bins:
            return [(tau, 0.0)]
        flat = np.where((tau > 1.0).all(axis=1), NEVER, np.minimum(tau, 1.0) @ chances.alpha_share)
        starts = [(flat[:, None], 0.0)]
        if len(self.betas) > 1:
            base, beta = induction.fit_line(tau, chances)
            starts.append((base[:, None], beta))
        return starts

    def _tables(self, rule: Rule, heat: tuple[float, ...], edges: np.ndarray) -> Policy:
        rows = tuple(tuple(float(v) for v in row) for row in rule.base)
        policy = Policy(kind=self.kind, mix=self.mix, temperature=heat)  # type: ignore[arg-type]
        if self.bins:
            policy = replace(policy, table=rows, bin_edges=tuple(map(float, edges)), beta=rule.beta,
                             thresholds=tuple(float(np.mean(row)) for row in rows))
        else:
            policy = replace(policy, thresholds=tuple(row[0] for row in rows), beta=rule.beta)
        if self.classes:
            policy = replace(policy, coeff=tuple(tuple(float(v) for v in row) for row in rule.coeff))
        return policy


@dataclass(frozen=True)
class Shared:
    """One threshold for all exits; the knob is the threshold itself. kind "confidence" or "entropy"."""

    kind: str
    knobs: tuple[float, ...] = SHARED

    @property
    def name(self) -> str:
        return "one threshold"

    def on(self, records: Records) -> Callable[[float], Policy]:
        """The function from the threshold to the tables; the records only say how many exits there are."""
        return lambda knob: Policy(kind=self.kind, thresholds=(knob,) * (records.exits - 1))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Choice:
    """What was chosen among forms, and what each would have cost at the allowed loss (cross-validated)."""

    form: Form
    costs: tuple[tuple[str, float], ...]


def plain(kind: str) -> tuple[tuning.Family, ...]:
    """The families of `confidence` and `entropy`: one shared threshold, or one an exit."""
    return Shared(kind), Form(mix=1.0 if kind == "entropy" else 0.0, kind=kind)


def choose(records: Records, max_loss: float, *, pairs: tuple[tuple[float, float], ...] = SCORES, seed: int = 0,
           progress: tuning.Progress | None = None) -> Choice:
    """The form that needs the least cost around the allowed loss, in three steps: score, difficulty, classes.

    pairs: the scores tried, (mix, heat) each. A richer form has to save more than 2 % of the cost of a simpler one, about
    what five folds can tell apart; beta may stay unless it costs 2 % more.
    """
    knobs = KNOBS[::3]
    losses = (0.5 * max_loss, max_loss, 2 * max_loss)
    scores = [Form(mix=m, heat=h) for m, h in pairs]
    total, done = (len(scores) + 3) * tuning.FOLDS * len(knobs), [0]

    def tick() -> None:
        done[0] += 1
        if progress:
            progress("form", min(done[0], total), total)

    costs: list[tuple[str, float]] = []

    def cost(form: Form) -> float:
        value = tuning.cost_at(tuning.judge(form, records, knobs, seed, tick), losses)
        costs.append((form.name, value))
        return value

    best, least = _cheapest(scores, cost, None, np.inf, 1.0)
    best, least = _cheapest([replace(best, betas=BETAS)], cost, best, least, 1.02)  # Eq. 19 unless it does harm
    best, least = _cheapest([replace(best, betas=(0.0,), bins=3)], cost, best, least)
    best, _ = _cheapest([replace(best, classes=True)], cost, best, least)
    if progress:
        progress("form", total, total)
    return Choice(best, tuple(costs))


def _cheapest(forms: list[Form], cost: Callable[[Form], float], best: Form | None, least: float,
              demand: float = 0.98) -> tuple[Form, float]:
    for form in forms:
        value = cost(form)
        if best is None or value < demand * least:
            best, least = form, value
    assert best is not None
    return best, least
