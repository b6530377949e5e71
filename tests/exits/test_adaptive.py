"""Coefficients that follow the data: direction, bounds, repeatability, saved state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgerun.errors import PolicyError
from edgerun.exits.adaptive import Adaptive, AdaptiveConfig, Observation
from edgerun.exits.records import Records
from edgerun.planner.plan import Policy

POLICY = Policy("dart", thresholds=(0.6, 0.6), beta=0.1)
COSTS = (0.2, 0.5, 1.0)


def stream(adaptive: Adaptive, records: Records, rounds: int = 1) -> list[bool]:
    """Feed real records in order; audits as the object asks for them. Returns which runs were audited."""
    scores, classes, audited = records.scores(), records.predicted, []
    for _ in range(rounds):
        for n in range(len(records)):
            audit = adaptive.want_audit()
            audited.append(audit)
            adaptive.observe(Observation(tuple(map(int, classes[:, n])), tuple(map(float, scores[:, n])),
                                         float(records.alpha[n]), audit))
    return audited


def agreeing(k: int, right: bool) -> Observation:
    return Observation((k, k, k if right else (k + 1) % 4), (0.9, 0.9, 0.9), 0.1, True)


def test_repeatable_by_seed(digits) -> None:
    runs = []
    for seed in (1, 1, 2):
        a = Adaptive(POLICY, COSTS, 10, AdaptiveConfig(audit=0.2, seed=seed))
        runs.append((stream(a, digits.test), a.coefficients(), a.state_dict()))
    assert runs[0] == runs[1] and runs[0][0] != runs[2][0]


def test_audit_share(digits) -> None:
    audited = stream(Adaptive(POLICY, COSTS, 10, AdaptiveConfig(audit=0.1)), digits.test, rounds=4)
    assert 0.07 < np.mean(audited) < 0.13


@pytest.mark.parametrize("right", [True, False])
def test_thresholds_fall_when_exits_are_right_and_rise_when_wrong(right: bool) -> None:
    a = Adaptive(POLICY, COSTS, 4, AdaptiveConfig(target=0.9))
    for _ in range(30):
        a.observe(agreeing(2, right))
    temporal, by_class = a.coefficients("temporal"), a.coefficients("class-aware")
    assert (temporal[0][0] < 1) is right and temporal[0][0] != 1
    assert temporal[1] == (1.0,) * 4, "only the exit that would have been taken learns"
    assert (by_class[0][2] < 1) is right and by_class[0][2] != 1
    assert by_class[0][0] == 1, "only the predicted class learns"


def test_temporal_rule_is_the_papers() -> None:
    a = Adaptive(POLICY, COSTS, 4, AdaptiveConfig(target=0.85, decay=0.95, kappa=0.5))
    a.observe(agreeing(1, False))
    assert a.coefficients("temporal")[0][0] == pytest.approx(0.95 + 0.05 * (1 + 0.5 * 0.85))


def test_coefficients_stay_in_bounds() -> None:
    a = Adaptive(POLICY, COSTS, 4, AdaptiveConfig(target=0.9, eta=0.5))
    for n in range(200):
        a.observe(agreeing(n % 4, False))
    assert max(a.coefficients("class-aware")[0]) <= 2.0
    b = Adaptive(POLICY, COSTS, 4, AdaptiveConfig(target=0.0, eta=0.5))
    for n in range(200):
        b.observe(agreeing(n % 4, True))
    assert min(b.coefficients("class-aware")[0]) >= 0.1 and min(b.coefficients("temporal")[0]) >= 0.5


def test_runs_without_audit_teach_nothing() -> None:
    a = Adaptive(POLICY, COSTS, 4)
    before = a.coefficients("both")
    assert a.observe(Observation((1,), (0.99,), 0.2, False)) is False
    assert a.coefficients("both") == before


def test_bandit_tries_all_and_settles_on_the_best() -> None:
    """Rewards are set by hand: strategy 2 pays, the others do not."""
    a = Adaptive(POLICY, COSTS, 4, AdaptiveConfig(trial=5))
    taken = []
    for _ in range(4000):
        taken.append(a._strategy)
        a._reward(right=a.strategy == "class-aware", cost=0.5)
    assert set(taken) == {0, 1, 2, 3}
    assert np.mean(np.array(taken[-1000:]) == 2) > 0.8


def test_saved_state_goes_on_identically(digits) -> None:
    config = AdaptiveConfig(audit=0.3, seed=7)
    whole, first = Adaptive(POLICY, COSTS, 10, config), Adaptive(POLICY, COSTS, 10, config)
    stream(whole, digits.test, rounds=2)
    stream(first, digits.test)
    second = Adaptive(POLICY, COSTS, 10)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    stream(second, digits.test)
    assert second.state_dict() == whole.state_dict() and second.coefficients() == whole.coefficients()


def test_state_of_another_model_is_refused() -> None:
    state = Adaptive(POLICY, COSTS, 4).state_dict()
    with pytest.raises(PolicyError, match="2 early exits and 5 classes"):
        Adaptive(POLICY, COSTS, 5).load_state_dict(state)
    with pytest.raises(PolicyError, match="missing field"):
        Adaptive(POLICY, COSTS, 4).load_state_dict({"version": 1})


def test_policies_without_thresholds_cannot_adapt() -> None:
    with pytest.raises(PolicyError, match="found patience"):
        Adaptive(Policy("patience"), COSTS, 4)


def test_incomplete_audit_is_refused() -> None:
    with pytest.raises(PolicyError, match="reach 3 exits"):
        Adaptive(POLICY, COSTS, 4).observe(Observation((1,), (0.9,), 0.1, True))
