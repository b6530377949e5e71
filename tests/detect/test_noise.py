"""Environmental noise: the distributions are those that are stated, strengths grow, benign features stay what they were asked to be."""
from __future__ import annotations

import numpy as np
import pytest

from edgerun.errors import InputError, OptionError
from edgerun_tools.detect import noise

KINDS = (*noise.TRAINED, *noise.HELD_OUT)


def _features(seed: int = 0, n: int = 40) -> np.ndarray:
    """Like those behind a ReLU: half zeros, [n,16,8,8]."""
    return np.maximum(np.random.default_rng(seed).standard_normal((n, 16, 8, 8)), 0).astype(np.float32)


X = _features()
REFERENCE = noise.Reference.of(X)


@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.5, 2.0])
def test_alpha_stable_numbers_have_their_distribution(alpha):
    """Kolmogorov-Smirnov against SciPy's own law."""
    stats = pytest.importorskip("scipy.stats")
    found = noise.alpha_stable(alpha, 2000, np.random.default_rng(3))
    # alpha 2 and 1 have closed forms; the others are integrated numerically on a grid, which is exact enough for 2,000 numbers
    if alpha == 2:
        law = stats.norm(scale=np.sqrt(2)).cdf
    elif alpha == 1:
        law = stats.cauchy.cdf
    else:
        grid = np.sinh(np.linspace(-9, 9, 161))
        values = stats.levy_stable.cdf(grid, alpha, 0)

        def law(x):
            return np.interp(x, grid, values)
    assert stats.kstest(found, law).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.0, 2.1])
def test_other_alphas_are_refused(alpha):
    with pytest.raises(OptionError, match="alpha"):
        noise.alpha_stable(alpha, 3, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_strengths_grow_and_the_input_stays(kind):
    before = X.copy()
    changed = []
    for strength in noise.STRENGTHS:
        out = noise.apply(X, kind, strength, REFERENCE, np.random.default_rng(1))
        assert out.shape == X.shape and out.dtype == np.float32 and np.isfinite(out).all()
        changed.append(np.minimum(np.abs(out - X), REFERENCE.scale).mean())  # bounded: alpha-stable noise has no mean to speak of
    assert np.array_equal(X, before)
    assert changed[0] == 0
    assert sorted(set(changed)) == changed, changed


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_the_noise(kind):
    one, same, other = (noise.apply(X, kind, "mid", REFERENCE, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("kind", "sigma"), [("gaussian", 0.25), ("laplace", 0.25)])
def test_sigma_is_in_units_of_the_scale(kind, sigma):
    change = noise.apply(X, kind, "mid", REFERENCE, np.random.default_rng(1)) - X
    assert change.std() == pytest.approx(sigma * REFERENCE.scale, rel=0.03)


def test_laplace_has_heavier_tails_than_normal():
    change = noise.apply(X, "laplace", "mid", REFERENCE, np.random.default_rng(1)) - X
    assert 5 < np.mean(change ** 4) / np.mean(change ** 2) ** 2 < 7  # 6; a normal has 3


@pytest.mark.parametrize(("width", "elements"), [(4, 350), (2, 700), (1, 1400)])
def test_packets_are_lost_whole(width, elements):
    x = np.ones((50, 2800), np.float32)
    out = noise.apply(x, "loss", "high", noise.Reference(1, 0, 1, 0, 1), np.random.default_rng(2), element_bytes=width)
    packets = out.reshape(50, -1, elements)
    assert (packets.min(2) == packets.max(2)).all()
    assert packets[..., 0].mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / packets[..., 0].size))


def test_scale_is_robust():
    wild = X.copy()
    wild.reshape(-1)[:20] = 1e6
    assert noise.Reference.of(wild).scale == pytest.approx(REFERENCE.scale, rel=0.01)


def test_scale_of_nothing_is_refused():
    for bad in (np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32), np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(InputError, match="benign features"):
            noise.Reference.of(bad)


def test_unknown_noise_is_refused():
    with pytest.raises(OptionError, match="alpha, gaussian"):
        noise.apply(X, "fog", "low", REFERENCE, np.random.default_rng(0))
    with pytest.raises(OptionError, match="none, low"):
        noise.apply(X, "loss", "much", REFERENCE, np.random.default_rng(0))


def test_mixture_draws_a_kind_for_every_sample():
    out = noise.mixture(X, REFERENCE, np.random.default_rng(4))
    same = (out == X).reshape(len(X), -1).all(1)
    assert 2 <= same.sum() <= 25  # about a quarter of 40 is without noise, besides messages that lost no packet
    only = noise.mixture(X, REFERENCE, np.random.default_rng(4), ["gaussian"], ["high"])
    assert (only - X).reshape(len(X), -1).std(1).min() > 0.4 * REFERENCE.scale
