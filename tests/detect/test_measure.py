"""AUROC, its interval and shares against SciPy, scikit-learn and known numbers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra detect")

from edgerun.errors import InputError
from edgerun_tools.detect.measure import auroc, share


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_scikit_learn_ties_and_infinities_included(seed):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    benign, attacked = np.round(rng.normal(0, 1, 80), 1), np.round(rng.normal(0.8, 1, 50), 1)
    attacked[:2] = 99
    expected = roc_auc_score(np.r_[np.zeros(80), np.ones(50)], np.r_[benign, attacked])
    attacked[:2] = np.inf
    assert auroc(benign, attacked).value == pytest.approx(expected)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    from scipy.stats import norm

    rng, truth = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2))
    found = [auroc(rng.normal(0, 1, 60), rng.normal(1, 1, 40)) for _ in range(400)]
    covered = np.mean([e.low <= truth <= e.high for e in found])
    assert 0.92 < covered < 0.98


def test_samples_that_never_meet_do_not_get_an_interval_of_nothing():
    found = auroc(np.zeros(30), np.ones(30))
    assert found.value == 1 and found.low == pytest.approx(0.9) and found.high == 1


def test_shares_are_exact_and_nan_is_refused():
    found = share(np.array([True] * 3 + [False] * 17))
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.15, 0.0321, 0.3789)
    with pytest.raises(InputError, match="without NaN"):
        auroc(np.array([0.0, np.nan]), np.ones(3))
