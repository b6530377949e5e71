"""The difficulty estimate against its definition, written out pixel by pixel, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun.errors import PolicyError
from edgerun.exits import difficulty


def by_definition(image: np.ndarray, tau: float) -> tuple[float, float, float]:
    """(edge, variance, laplacian) of one image [H,W,C] in [0,1], loops instead of array tricks."""
    h, w, c = image.shape
    gray = image[..., 0] if c == 1 else image @ np.array([0.299, 0.587, 0.114])
    at = lambda y, x: gray[min(max(y, 0), h - 1), min(max(x, 0), w - 1)]  # noqa: E731
    edges, lap = 0, 0.0
    for y in range(h):
        for x in range(w):
            gx = sum(k * (at(y + dy, x + 1) - at(y + dy, x - 1)) for dy, k in ((-1, 1), (0, 2), (1, 1)))
            gy = sum(k * (at(y + 1, x + dx) - at(y - 1, x + dx)) for dx, k in ((-1, 1), (0, 2), (1, 1)))
            edges += np.hypot(gx, gy) > tau
            lap += abs(4 * at(y, x) - at(y - 1, x) - at(y + 1, x) - at(y, x - 1) - at(y, x + 1))
    variance = np.mean([image[..., k].var() for k in range(c)])
    return edges / (h * w), float(variance), lap / (h * w)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 3), (8, 8, 1), (7, 5, 3)])
def test_components_follow_the_definition(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(sum(shape)).random(shape)
    got = difficulty.components(image[None], 0.9)[0]
    assert got == pytest.approx(by_definition(image, 0.9), rel=1e-12, abs=1e-12)


def test_bytes_and_floats_agree(digits) -> None:
    images = digits.images[:20]
    assert np.array_equal(difficulty.components(images, 0.5), difficulty.components(images / 255.0, 0.5))


def test_tau_is_mean_plus_one_std_of_the_gradient(digits) -> None:
    p = np.pad(digits.images[:50, ..., 0] / 255.0, ((0, 0), (1, 1), (1, 1)), mode="edge")
    g = difficulty._sobel(p)
    assert difficulty.fit(digits.images[:50]).tau_edge == pytest.approx(g.mean() + g.std(), rel=1e-9)


def test_scaling_maps_the_quantiles_to_0_and_1(digits) -> None:
    raw = difficulty.components(digits.images, digits.config.tau_edge)
    assert digits.config.alpha(np.array([digits.config.low])) == pytest.approx(0.0)
    assert digits.config.alpha(np.array([digits.config.high])) == pytest.approx(1.0)
    alpha = digits.config.alpha(raw)
    assert alpha.min() >= 0 and alpha.max() <= 1 and alpha.std() > 0.05


def test_alpha_of_an_image_does_not_depend_on_its_company(digits) -> None:
    alone = [digits.config.alpha(difficulty.components(digits.images[i:i + 1], digits.config.tau_edge))[0]
             for i in range(10)]
    together = digits.config.alpha(difficulty.components(digits.images, digits.config.tau_edge))[:10]
    assert np.array_equal(alone, together)


def test_flat_images_do_not_divide_by_zero() -> None:
    config = difficulty.fit(np.full((5, 4, 4, 1), 128, np.uint8))
    assert np.isfinite(config.alpha(np.zeros((1, 3)))).all()
    assert all(h > low for low, h in zip(config.low, config.high, strict=True))


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (4, 4, 1), (2, 4, 4, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PolicyError, match="expected images"):
        difficulty.fit(np.zeros(shape, np.uint8))


def test_auc_against_all_pairs() -> None:
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    a, b = score[positive][:, None], score[~positive][None]
    assert difficulty.auc(score, positive) == pytest.approx(((a > b) + 0.5 * (a == b)).mean())


def test_weight_search_finds_the_component_that_matters() -> None:
    rng = np.random.default_rng(2)
    raw = rng.random((800, 3))
    wrong = rng.random(800) < raw[:, 1] ** 2
    start = difficulty.DifficultyConfig(0.5, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found, held_out, given = difficulty.search_weights(start, raw, wrong)
    assert held_out > given + 0.02
    assert found.weights[1] > 0.8 and sum(found.weights) == pytest.approx(1)


def test_weight_search_keeps_the_papers_weights_without_evidence() -> None:
    rng = np.random.default_rng(3)
    start = difficulty.DifficultyConfig(0.5, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found, _, _ = difficulty.search_weights(start, rng.random((400, 3)), rng.random(400) < 0.3, tries=50)
    assert found.weights == difficulty.PAPER_WEIGHTS
