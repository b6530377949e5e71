"""difficulty_f32 against the formulas in float64, and its promise: the same bits alone and in any batch."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import ISAS, call, each_isa, native, one

WEIGHTS, LOW, HIGH = (0.4, 0.3, 0.3), (0.01, 0.005, 0.01), (0.6, 0.12, 0.5)
GRAY = {1: (1.0,), 2: (0.5, 0.5), 3: (0.299, 0.587, 0.114), 5: (0.2,) * 5}


def attributes(c, layout, scale=1.0, offset=0.0, tau=0.45):
    return {
        "layout": (layout,),
        "scale": (scale,) * c,
        "offset": (offset,) * c,
        "gray": GRAY[c],
        "tau_edge": (tau,),
        "low": LOW,
        "high": HIGH,
        "weights": WEIGHTS,
    }


def image(c, h, w, seed=0):
    """Smooth gradients, an edge and some noise, in [0, 1]; [C, H, W]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    base = 0.5 + 0.3 * np.sin(x / 5 + seed) * np.cos(y / 7) + 0.2 * (x > w / 2)
    return np.clip(base + rng.normal(0, 0.05, (c, h, w)), 0, 1).astype(np.float32)


def expected(x, attrs):
    """(alpha, edge, variance, laplacian) of [C, H, W] in float64, and how many positions are too close to tau to call."""
    scale, offset, gray = (
        np.asarray(np.float32(attrs[k]), np.float64)[:, None, None] for k in ("scale", "offset", "gray")
    )
    p = x.astype(np.float64) * scale + offset
    g = np.pad((p * gray).sum(0), 1, mode="edge")
    h, w = x.shape[1:]
    shifted = {(a, b): g[1 + a : 1 + a + h, 1 + b : 1 + b + w] for a in (-1, 0, 1) for b in (-1, 0, 1)}
    gx = sum(k * (shifted[a, 1] - shifted[a, -1]) for a, k in ((-1, 1), (0, 2), (1, 1)))
    gy = sum(k * (shifted[1, b] - shifted[-1, b]) for b, k in ((-1, 1), (0, 2), (1, 1)))
    magnitude, tau = np.hypot(gx, gy), float(np.float32(attrs["tau_edge"][0]))
    laplacian = 4 * shifted[0, 0] - shifted[-1, 0] - shifted[1, 0] - shifted[0, -1] - shifted[0, 1]
    values = np.array([(magnitude > tau).mean(), p.var(axis=(1, 2)).mean(), np.abs(laplacian).mean()])
    low, high, weights = (np.asarray(np.float32(attrs[k]), np.float64) for k in ("low", "high", "weights"))
    alpha = np.clip((weights * np.clip((values - low) / (high - low), 0, 1)).sum(), 0, 1)
    return np.array([alpha, *values]), (np.abs(magnitude - tau) < 1e-5).sum()


@each_isa
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("c", GRAY)
@pytest.mark.parametrize(
    ("h", "w"),
    [(1, 1), (1, 9), (9, 1), (2, 2), (3, 7), (8, 8), (7, 9), (28, 28), (32, 32), (33, 17), (40, 300), (150, 16)],
)
def test_matches_the_formulas(isa, layout, c, h, w):
    x = image(c, h, w)
    attrs = attributes(c, layout, scale=0.5, offset=0.25)
    want, undecided = expected(x, attrs)
    assert undecided == 0
    stored = x if layout == 0 else np.moveaxis(x, 0, -1)
    got = one("difficulty_f32", [stored[None]], attrs, (4,), np.float32, isa)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@each_isa
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("c", [1, 3])
def test_same_bits_alone_and_in_a_batch(isa, layout, c):
    batch = np.stack([image(c, 21, 30, seed) for seed in range(5)])
    batch = batch if layout == 0 else np.ascontiguousarray(np.moveaxis(batch, 1, -1))
    attrs = attributes(c, layout)
    (together,), seen = call("difficulty_f32", [batch], attrs, [(5, 4)], np.float32, isa)
    alone = [one("difficulty_f32", [batch[k : k + 1]], attrs, (4,), np.float32, isa) for k in range(5)]
    assert together.tobytes() == np.stack(alone).tobytes()
    assert seen["units"] == 5 and len({row.tobytes() for row in alone}) == 5


@each_isa
@pytest.mark.parametrize("c", [1, 3])
def test_both_layouts_give_the_same_bits(isa, c):
    x = image(c, 19, 23)
    planar = one("difficulty_f32", [x], attributes(c, 0), (4,), np.float32, isa)
    interleaved = one("difficulty_f32", [np.moveaxis(x, 0, -1)], attributes(c, 1), (4,), np.float32, isa)
    assert planar.tobytes() == interleaved.tobytes()


@each_isa
@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_flat_image_is_as_easy_as_can_be(isa, c, level):
    got = one(
        "difficulty_f32",
        [np.full((1, c, 28, 28), level, np.float32)],
        attributes(c, 0, tau=0.0001),
        (4,),
        np.float32,
        isa,
    )
    np.testing.assert_allclose(got, 0, atol=2e-7)


@each_isa
def test_normalisation_is_undone(isa):
    x = image(3, 32, 32)
    mean, deviation = np.float32(0.45), np.float32(0.25)
    plain = one("difficulty_f32", [x], attributes(3, 0), (4,), np.float32, isa)
    normalised = one("difficulty_f32", [(x - mean) / deviation], attributes(3, 0, 0.25, 0.45), (4,), np.float32, isa)
    np.testing.assert_allclose(normalised, plain, atol=2e-6)


@each_isa
def test_more_texture_is_harder(isa):
    rng = np.random.default_rng(3)
    levels = [
        one(
            "difficulty_f32",
            [np.clip(0.5 + s * rng.standard_normal((1, 1, 28, 28)), 0, 1).astype(np.float32)],
            attributes(1, 0),
            (4,),
            np.float32,
            isa,
        )[0]
        for s in (0.01, 0.05, 0.2, 0.5)
    ]
    assert levels == sorted(levels) and levels[0] < 0.1 and levels[-1] > 0.9


@each_isa
def test_nan_is_passed_on(isa):
    x = image(1, 28, 28)
    x[0, 13, 13] = np.nan
    got = one("difficulty_f32", [x], attributes(1, 0), (4,), np.float32, isa)
    assert np.isnan(got[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("change", "shape", "out"),
    [
        ({"layout": (2,)}, (1, 3, 8, 8), (4,)),
        ({"scale": (1.0,)}, (1, 3, 8, 8), (4,)),
        ({"high": LOW}, (1, 3, 8, 8), (4,)),
        ({"tau_edge": (-1.0,)}, (1, 3, 8, 8), (4,)),
        ({}, (1, 3, 8, 8), (5,)),
        ({}, (2, 3, 8, 8), (4,)),
        ({}, (1, 3, 0, 8), (4,)),
        ({}, (3, 8), (4,)),
        ({"weights": (0.5, 0.5)}, (1, 3, 8, 8), (4,)),
        ({"gray": (float("nan"),) * 3, "low": (float("nan"),) * 3}, (1, 3, 8, 8), (4,)),
    ],
    ids=str,
)
def test_inconsistent_requests_are_refused(change, shape, out):
    with pytest.raises(ValueError, match="query: bad_"):
        call(
            "difficulty_f32", [np.zeros(shape, np.float32)], {**attributes(3, 0), **change}, [out], np.float32, ISAS[0]
        )


def test_native_and_python_kernels_agree():
    from edgerun_kernels.registry import KERNELS

    x = image(3, 32, 32)[None]
    attrs = attributes(3, 0)
    python = np.zeros(4, np.float32)
    KERNELS["difficulty_f32"]([x], attrs, [python], None)
    np.testing.assert_allclose(
        one("difficulty_f32", [x], attrs, (4,), np.float32, native.isa()), python, rtol=1e-5, atol=1e-6
    )
