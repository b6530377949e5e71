"""Attacks on a real network's real features: they reach their goal within what they may do, and a seed decides them."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgerun.errors import OptionError  # noqa: E402
from edgerun_tools.detect import attacks, context, gradient  # noqa: E402

MESSAGES = 30
LEAST = {"inject": 0.99, "blend": 0.99, "vae": 0.9, "fgsm": 0.25, "pgd": 0.95, "cw": 0.95, "adaptive": 0.9, "replay": 0.8, "random": 0.5,
         "impulse": 0.1}


@pytest.fixture(scope="module")
def scene(split_digits):
    """The attacker's context with a simple detector (distance to the benign mean) as score, MESSAGES messages, answers and targets."""
    pool, sent = split_digits.sent[0], split_digits.fresh[0][:MESSAGES]
    found = context.AttackContext.of(split_digits.tail, pool)
    mean, spread = torch.from_numpy(pool.mean(0)), torch.from_numpy(pool.std(0) + 0.1 * found.reference.scale)
    found.score = lambda x: ((x - mean) / spread).square().flatten(1).mean(1)
    found.budget = gradient.least_budget(found, samples=20)
    answered = found.tail.predict(sent)
    return found, sent, answered, attacks.targets(answered, 10, np.random.default_rng(0))


RUN: dict[tuple[str, int], np.ndarray] = {}


def _run(scene, name: str, seed: int = 1) -> np.ndarray:
    """Attacked features, computed once for each seed."""
    found, sent, _, target = scene
    if (name, seed) not in RUN:
        RUN[name, seed] = attacks.attack(name)(found, sent, target, np.random.default_rng(seed))
    return RUN[name, seed]


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_attacks_reach_their_goal(scene, name):
    found, sent, answered, target = scene
    before = sent.copy()
    changed = _run(scene, name)
    assert changed.shape == sent.shape and changed.dtype == np.float32
    assert np.array_equal(sent, before)
    assert changed.min() >= found.reference.least and changed.max() <= found.reference.greatest
    assert attacks.succeeded(found, name, changed, answered, target).mean() >= LEAST[name]


def test_all_attacks_have_a_bar():
    assert set(LEAST) == set(attacks.ATTACKS) == set(attacks.GOALS)


@pytest.mark.parametrize("name", ["inject", "blend", "replay", "random", "impulse", "pgd", "vae"])
def test_a_seed_decides_an_attack(scene, name):
    one, other = _run(scene, name), _run(scene, name, 2)
    del RUN[name, 1]
    same = _run(scene, name)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "adaptive"])
def test_budgets_are_kept(scene, name):
    found, sent, *_ = scene
    assert np.abs(_run(scene, name) - sent).max() <= found.budget * found.reference.scale * 1.0001


def test_cw_changes_less_than_pgd(scene):
    sent = scene[1]
    assert np.square(_run(scene, "cw") - sent).sum() < 0.5 * np.square(_run(scene, "pgd") - sent).sum()


def test_the_adaptive_attacker_is_less_suspicious_than_pgd(scene):
    score = scene[0].score
    seen = {name: score(torch.from_numpy(_run(scene, name))).numpy() for name in ("pgd", "adaptive")}
    assert (seen["adaptive"] < seen["pgd"]).mean() > 0.95


def test_the_adaptive_attacker_needs_the_detector(scene):
    found, sent, _, target = scene
    with pytest.raises(OptionError, match="score"):
        attacks.attack("adaptive")(replace(found, score=None), sent, target, np.random.default_rng(0))


def test_injected_features_are_genuine(scene):
    found, _, _, target = scene
    rows = {row.tobytes(): label for row, label in zip(found.pool, found.labels, strict=True)}
    assert [rows[row.tobytes()] for row in _run(scene, "inject")] == target.tolist()


def test_generated_features_are_not_copies(scene):
    found = scene[0]
    made = _run(scene, "vae").reshape(MESSAGES, -1)
    nearest = [np.abs(found.pool.reshape(len(found.pool), -1) - row).mean(1).min() for row in made]
    assert min(nearest) > 0.01 * found.reference.scale


def test_targets_are_never_the_answer():
    answered = np.arange(1000) % 10
    wanted = attacks.targets(answered, 10, np.random.default_rng(0))
    assert (wanted != answered).all() and set(wanted) == set(range(10))


def test_unknown_attacks_are_refused():
    with pytest.raises(OptionError, match="inject"):
        attacks.attack("wish")


def test_classes_never_intercepted_are_said(scene):
    found = replace(scene[0], labels=np.zeros(len(scene[0].pool), np.int64), kept={})
    with pytest.raises(OptionError, match="class 3"):
        found.of_class(3)
