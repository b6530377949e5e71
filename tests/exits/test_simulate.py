"""The rule on many images at once against the executors' rule, image by image."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun.errors import PolicyError
from edgerun.exits.records import Records, folds, temperatures
from edgerun.exits.simulate import leave_at, simulate
from edgerun.planner import decide
from edgerun.planner.plan import Policy

COEFF = tuple(tuple(0.8 + 0.04 * k for k in range(10)) for _ in range(2))
POLICIES = {
    "none": Policy(),
    "confidence": Policy("confidence", thresholds=(0.9, 0.7)),
    "entropy": Policy("entropy", thresholds=(0.8, 2.0)),
    "patience": Policy("patience", patience=1),
    "dart": Policy("dart", thresholds=(0.6, 0.5), beta=0.3),
    "dart-never": Policy("dart", thresholds=(2.0, 0.5), beta=0.3),
    "dart-class": Policy("dart", thresholds=(0.8, 0.7), beta=0.1, coeff=COEFF),
    "dart-table": Policy("dart", thresholds=(0.8, 0.7), bin_edges=(0.4, 0.6), table=((0.9, 0.8, 2.0), (0.5, 0.6, 0.7))),
    "dart-score": Policy("dart", thresholds=(0.7, 0.6), beta=0.1, mix=0.4, temperature=(0.5, 2.0, 1.0)),
}


def one_by_one(policy: Policy, records: Records) -> list[int]:
    out = []
    for n in range(len(records)):
        scores, classes, left = [], [], records.exits - 1
        for i in range(records.exits - 1):
            k, s = decide.exit_score(policy, i, records.logits[i, n], logits=True)
            scores.append(s)
            classes.append(k)
            if decide.should_stop(policy, i, scores, classes, alpha=float(records.alpha[n])):
                left = i
                break
        out.append(left)
    return out


@pytest.mark.parametrize("name", POLICIES)
def test_same_exits_as_the_executors_rule(digits, name: str) -> None:
    got, want = leave_at(POLICIES[name], digits.test), one_by_one(POLICIES[name], digits.test)
    # float32 there, float64 here: a score within rounding of its threshold may fall on either side
    assert (got != want).mean() < 0.005
    if name not in ("none",):
        assert len(set(want)) > 1, "the policy must be exercised"


def test_outcome_adds_up(digits) -> None:
    o = simulate(POLICIES["dart"], digits.test)
    assert sum(o.shares) == pytest.approx(1)
    assert o.cost == pytest.approx(float(np.dot(o.shares, digits.test.costs)))
    assert o.accuracy == pytest.approx(o.correct.mean())


def test_none_is_the_last_exit(digits) -> None:
    o = simulate(Policy(), digits.test)
    assert o.shares == (0, 0, 1) and o.accuracy == digits.test.correct[-1].mean() and o.cost == 1


def test_deadline_cannot_be_simulated(digits) -> None:
    with pytest.raises(PolicyError, match="clock"):
        simulate(Policy("deadline", budget_ns=1, segment_ns=(1, 1, 1)), digits.test)


def test_temperature_minimises_cross_entropy(digits) -> None:
    def loss(t: float, i: int) -> float:
        z = digits.calibration.logits[i] / t
        z = z - z.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), digits.calibration.labels]))

    for i, t in enumerate(temperatures(digits.calibration)):
        assert loss(t, i) <= min(loss(0.9 * t, i), loss(1.1 * t, i))


def test_folds_hold_every_record_out_once() -> None:
    held = np.concatenate([h for _, h in folds(103, 5)])
    assert sorted(held) == list(range(103))
    assert all(not set(fit) & set(h) for fit, h in folds(103, 5))


@pytest.mark.parametrize("broken", ["logits", "labels", "nan"])
def test_records_that_do_not_fit_are_refused(digits, broken: str) -> None:
    c = digits.calibration
    logits, labels = c.logits, c.labels
    if broken == "logits":
        logits = logits[:1]
    elif broken == "labels":
        labels = labels[:-1]
    else:
        logits = logits.copy()
        logits[0, 0, 0] = np.nan
    with pytest.raises(PolicyError, match="records: expected"):
        Records(logits, labels, c.alpha, c.costs)
