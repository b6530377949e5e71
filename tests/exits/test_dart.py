"""Joint thresholds: the induction against enumeration, the polish against brute force, the choice against held-out data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgerun.exits import dart, induction, tuning
from edgerun.exits.polish import GRID, Rule, View, objective, polish
from edgerun.exits.simulate import leave_at, simulate
from edgerun.planner.decide import NEVER
from edgerun.planner.plan import Policy


def test_isotonic_is_the_closest_non_decreasing_sequence() -> None:
    values, weights = np.array([0.2, 0.6, 0.4, 0.4, 0.9, 0.1]), np.array([1, 2, 1, 1, 3, 0.5])
    got = induction.isotonic(values, weights)
    assert (np.diff(got) >= 0).all()
    loss = lambda f: float((weights * (f - values) ** 2).sum())  # noqa: E731
    levels = np.linspace(0, 1, 11)
    best = min(loss(np.array(f)) for f in itertools.combinations_with_replacement(levels, 6))
    assert loss(got) <= best + 1e-12


def test_induction_is_optimal_under_its_own_chances() -> None:
    """All 4 x 4 threshold pairs of a small chain, evaluated forward, against the value from backward induction."""
    rng = np.random.default_rng(4)
    n_k = 3
    p = np.sort(rng.random((3, 1, n_k)), axis=-1)
    move = rng.dirichlet(np.ones(n_k), (2, 1, n_k))
    weight = np.tile(rng.integers(5, 20, n_k).astype(float), (3, 1, 1))
    chances = induction.Chances(p, move, weight, np.array([[0.4, 0.8]] * 3), np.empty(0), np.array([0.5]), np.ones(1))
    costs, beta_opt = np.array([0.2, 0.5, 1.0]), 0.6
    tau, value = induction.solve(chances, costs, beta_opt)

    def forward(first: int, second: int) -> float:
        state, total = weight[0, 0] / weight[0, 0].sum(), 0.0
        for i, cut in enumerate((first, second, 0)):
            leaves = np.arange(n_k) >= cut
            total += float((state * leaves * (p[i, 0] - beta_opt * costs[i])).sum())
            state = (state * ~leaves) @ (move[i, 0] if i < 2 else np.eye(n_k))
        return total

    every = {(a, b): forward(a, b) for a in range(n_k + 1) for b in range(n_k + 1)}
    assert value == pytest.approx(max(every.values()))
    cut = {0.0: 0, 0.4: 1, 0.8: 2, NEVER: 3}
    assert forward(*(cut[float(t)] for t in tau[:, 0])) == pytest.approx(value)
    assert len({round(v, 9) for v in every.values()}) > 5, "the chain must make a difference"


def test_induction_looks_at_confidence(digits) -> None:
    """Not the degenerate solution of leaving in every state, nor of never leaving."""
    v = View.of(digits.calibration)
    assert v.correct.min() >= 0 and v.correct.max() <= 1
    tau, _ = induction.solve(induction.count(v.score, v.correct, v.alpha), v.costs, 0.05)
    assert (tau > 0.3).all() and (tau < 1).any()


def test_line_recovers_a_line() -> None:
    x = np.array([0.1, 0.3, 0.7])
    chances = induction.Chances(*(np.zeros(1),) * 4, np.array([0.2, 0.5]), x, np.array([0.2, 0.5, 0.3]))  # type: ignore[arg-type]
    base, beta = induction.fit_line(np.stack([0.4 + 0.25 * x, 0.6 + 0.25 * x, np.full(3, NEVER)]), chances)
    assert base == pytest.approx([0.4, 0.6, NEVER]) and beta == pytest.approx(0.25)
    assert induction.fit_line(np.stack([0.9 - 0.25 * x]), chances)[1] == 0.0, "Eq. 19: beta is never negative"


def test_polish_finds_the_best_grid_thresholds(digits) -> None:
    """Two exits, so that all pairs of grid levels can be tried one by one."""
    view, beta_opt = View.of(digits.calibration), 0.08
    n = len(digits.calibration)
    start = Rule(np.full((2, 1), NEVER), np.ones((2, 10)), 0.0, np.zeros(n, np.int64))
    got = objective(polish(start, view, beta_opt, betas=(0.0,)), view, beta_opt)
    best = -1.0
    for a, b in itertools.product([0.0, *view.levels[0], NEVER], [0.0, *view.levels[1], NEVER]):
        best = max(best, objective(Rule(np.array([[a], [b]]), start.coeff, 0.0, start.column), view, beta_opt))
    assert len(GRID) > 40
    assert got >= best - 0.001 and got <= best + 1e-9 + 0.002


def test_polish_never_makes_a_rule_worse(digits) -> None:
    view = View.of(digits.calibration)
    column = np.zeros(len(digits.calibration), np.int64)
    for base, beta, price in ((0.5, 0.0, 0.02), (0.9, 0.3, 0.1), (NEVER, 0.0, 0.3)):
        start = Rule(np.full((2, 1), base), np.ones((2, 10)), beta, column)
        assert objective(polish(start, view, price), view, price) >= objective(start, view, price) - 1e-12


@pytest.mark.parametrize("form", [dart.Form(), dart.Form(heat=1.0, betas=(0.0, 0.1, 0.3)), dart.Form(bins=3),
                                  dart.Form(mix=0.4, heat=0.5, classes=True)], ids=lambda f: f.name)
def test_tables_say_what_the_search_saw(digits, form: dart.Form) -> None:
    """The policy handed to executors reaches the J that the search claims."""
    c = digits.calibration
    policy = form.on(c)(0.08)
    o = simulate(policy, c)
    never = simulate(Policy(), c)
    assert o.accuracy - 0.08 * o.cost > never.accuracy - 0.08 * never.cost
    assert policy.kind == "dart" and len(policy.thresholds) == 2 and policy.beta >= 0


def test_price_moves_along_the_front(digits) -> None:
    tables = dart.Form(heat=1.0).on(digits.calibration)
    costs = [simulate(tables(b), digits.calibration).cost for b in (0.0005, 0.02, 0.2, 2.0)]
    assert costs == sorted(costs, reverse=True) and costs[0] > costs[-1]


@pytest.mark.parametrize("family", [*dart.plain("confidence"), *dart.plain("entropy"), dart.Form(heat=1.0)],
                         ids=lambda f: f"{f.kind} {f.name}")
def test_operating_point_holds_on_unseen_images(digits, family) -> None:
    tuned = tuning.tune(family, digits.calibration, max_loss=1.5)
    o = simulate(tuned.policy, digits.test)
    loss = 100 * (digits.test.correct[-1].mean() - o.accuracy)
    assert tuned.point.bound() <= 1.5
    assert o.cost < 0.75
    assert loss <= 1.5 + 1.0  # one more standard error of 497 test images


def test_no_loss_allowed_means_no_early_exit(digits) -> None:
    tuned = tuning.tune(dart.Form(), digits.calibration, max_loss=-1.0)
    assert (leave_at(tuned.policy, digits.test) == 2).all() and tuned.point.cost == 1


def test_given_price_is_used(digits) -> None:
    tuned = tuning.tune(dart.Form(), digits.calibration, max_loss=0.0, knob=0.123)
    assert tuned.point.knob == 0.123 and tuned.point.cost < 1


def test_choice_is_no_worse_than_its_members(digits) -> None:
    half = digits.calibration.take(np.arange(0, len(digits.calibration), 2))
    choice = dart.choose(half, 1.0, pairs=((0.0, 0.0), (0.0, 1.0)))
    costs = dict(choice.costs)
    assert costs[choice.form.name] <= 1.005 * costs[dart.Form().name], "plain confidence is a member of the family"
    assert dart.choose(half, 1.0, pairs=((0.0, 0.0), (0.0, 1.0))) == choice, "same records, same choice"


def test_blend_goes_from_one_policy_to_the_other() -> None:
    a = Policy("dart", thresholds=(0.9, NEVER, NEVER), beta=0.2, coeff=((1.0, 0.5),) * 3)
    b = Policy("dart", thresholds=(0.5, 0.5, NEVER), beta=0.0, coeff=((1.0, 1.5),) * 3)
    half = tuning.blend(a, b, 0.5)
    assert half.thresholds[0] == pytest.approx(0.75) and 0.5 < half.thresholds[1] <= 1 and half.thresholds[2] == NEVER
    assert half.beta == pytest.approx(0.1) and half.coeff[0] == (1.0, 1.0)
    assert tuning.blend(a, b, 0.0).thresholds[0] == pytest.approx(0.9)
    assert tuning.blend(a, b, 1.0).thresholds[:2] == pytest.approx((0.5, 0.5))


def test_between_points_use_the_allowed_loss(digits) -> None:
    """The chosen point is at least as cheap as the cheapest legal vertex of the front."""
    family = dart.Form(heat=1.0, knobs=(0.005, 0.05, 0.5))
    tuned = tuning.tune(family, digits.calibration, max_loss=1.2)
    vertices = [p.cost for p, _ in tuned.front if p.bound() <= 1.2]
    assert vertices and tuned.point.bound() <= 1.2 and tuned.point.cost <= 1.01 * min(vertices)


def test_rightness_is_unbiased_and_less_noisy(digits) -> None:
    """The last exit's calibrated probabilities say on average what the labels say."""
    c = digits.calibration
    for exit_, (soft, hard) in enumerate(zip(c.rightness(trust=0.0), c.correct, strict=True)):
        assert soft.mean() == pytest.approx(hard.mean(), abs=0.03), f"exit {exit_}"
        assert soft.std() < hard.std()
    assert np.array_equal(c.rightness(trust=1.0), c.correct)
