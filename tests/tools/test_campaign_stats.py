"""Sample sizes and intervals of fault campaigns, against published numbers and SciPy's own test."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.errors import OptionError
from edgerun_tools.faults import stats

binomtest = pytest.importorskip("scipy.stats").binomtest


@pytest.mark.parametrize(("margin", "confidence", "expected"), [
    (0.05, 0.95, 385), (0.01, 0.95, 9604), (0.005, 0.95, 38415), (0.05, 0.99, 664), (0.01, 0.99, 16588)])
def test_sample_size_of_an_endless_population(margin, confidence, expected):
    assert stats.sample_size(10**15, margin, confidence) == expected


@given(population=st.integers(1, 10**7), margin=st.floats(0.002, 0.3))
def test_a_finite_population_needs_less_and_never_more_than_there_are(population, margin):
    n = stats.sample_size(population, margin, 0.95)
    assert 0 < n <= population
    assert n <= stats.sample_size(population * 10, margin, 0.95)


@pytest.mark.parametrize(("coverage", "expected"), [(0.9, 29), (0.97, 99), (0.99, 299), (0.999, 2995), (0.9999, 29956)])
def test_faults_without_a_miss(coverage, expected):
    assert stats.without_miss(coverage) == expected
    assert stats.proportion(expected, expected).at_least >= coverage
    assert stats.proportion(expected - 1, expected - 1).at_least < coverage


@settings(deadline=None)
@given(trials=st.integers(1, 5000), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_intervals_are_those_of_the_exact_test(trials, share, confidence):
    hits = round(share * trials)
    found = stats.proportion(hits, trials, confidence)
    interval = binomtest(hits, trials).proportion_ci(confidence, method="exact")
    one_sided = binomtest(hits, trials, alternative="greater").proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.at_least == pytest.approx(one_sided.low, abs=1e-9)
    assert found.low <= found.at_least <= found.rate <= found.at_most <= found.high


def test_nothing_counted_says_nothing():
    found = stats.proportion(0, 0)
    assert (found.rate, found.low, found.high) == (None, 0.0, 1.0)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_that_is_none(margin):
    with pytest.raises(OptionError, match="margin: expected a number between 0 and 1"):
        stats.sample_size(100, margin, 0.95)
