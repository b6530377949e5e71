"""The baselines learn benign features under noise, and tell plain rubbish from them."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from edgerun_tools.detect import baselines, noise


@pytest.fixture(scope="module")
def scene(split_digits):
    """Reference; noisy training features (900), fresh (300), test (120), and rubbish of the same range."""
    pool, test = split_digits.sent[0], split_digits.fresh[0]
    reference, rng = noise.Reference.of(pool), np.random.default_rng(0)
    rubbish = rng.uniform(reference.low, reference.high, test.shape).astype(np.float32)
    return reference, noise.mixture(pool[:900], reference, rng), noise.mixture(pool[900:], reference, rng), \
        noise.mixture(test, reference, rng), rubbish


@pytest.mark.parametrize("make", [lambda r: baselines.Mse(r, epochs=2), baselines.Mahalanobis, lambda r: baselines.Paper(r, epochs=2)],
                         ids=["mse", "mahalanobis", "paper"])
def test_rubbish_scores_above_benign_noise(scene, make):
    reference, train, fresh, test, rubbish = scene
    baseline = make(reference)
    baseline.fit(train, fresh)
    benign, bad = baseline.score(test), baseline.score(rubbish)
    assert benign.shape == (120,) and np.isfinite(benign).all() and np.isfinite(bad).all()
    assert (bad[:, None] > benign).mean() > 0.95
    threshold = np.quantile(baseline.score(fresh), 0.95)
    assert (benign > threshold).mean() < 0.2
    assert np.array_equal(baseline.score(test), benign)


def test_papers_features_are_what_they_are_called(scene):
    reference, train, fresh, test, _ = scene
    paper = baselines.Paper(reference, epochs=1)
    paper.fit(train, fresh)
    found = paper.features(test)
    assert found.shape == (120, 4)
    assert (found[:, [0, 1, 3]] > 0).all()
    assert np.all(found[:, 3] <= 2 * np.sqrt(found[:, 0]) + np.abs(found[:, 2]))  # the MAD is bounded by the root mean square
    assert sorted(baselines.baselines(reference)) == ["mahalanobis", "mse", "paper"]
