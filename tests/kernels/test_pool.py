"""Pools against a float64 loop over windows, with the padding, dilation and ceil_mode rules of ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import EPS, ISAS, call, close, each_isa, one, sample

CASES = [
    # (n, h, w, c), kernel, strides, pads (top, left, bottom, right), dilations, ceil
    ((1, 8, 8, 16), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
    ((2, 7, 9, 3), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False),
    ((1, 5, 5, 1), (3, 2), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((1, 9, 9, 33), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), False),
    ((1, 9, 9, 8), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), True),
    ((1, 10, 7, 40), (3, 3), (2, 3), (0, 1, 2, 0), (2, 2), False),
    ((1, 6, 6, 5), (3, 3), (3, 3), (2, 2, 2, 2), (1, 1), True),
    ((1, 4, 4, 65), (4, 4), (4, 4), (0, 0, 0, 0), (1, 1), False),
    ((1, 1, 20, 4), (1, 5), (1, 2), (0, 2, 0, 2), (1, 1), False),
    ((0, 4, 4, 3), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
    ((1, 4, 4, 0), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
    ((1, 2, 2, 7), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((1, 5, 5, 15), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), False),
    ((1, 4, 4, 9), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), True),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", ""))


def output_shape(case):
    shape, kernel, strides, pads, dilations, ceil = case
    size = []
    for k in range(2):
        room = shape[1 + k] + pads[k] + pads[2 + k] - (dilations[k] * (kernel[k] - 1) + 1)
        size.append(max(0, (-(-room // strides[k]) if ceil else room // strides[k]) + 1))
    return (shape[0], *size, shape[3])


def windows(case, x):
    """Yields output position, the values a window sees [taps, C], and the taps that lie in the image or the pads."""
    (_, h, w, _), kernel, strides, pads, dilations, _ = case
    for n, i, j in np.ndindex(output_shape(case)[:3]):
        rows = [i * strides[0] - pads[0] + a * dilations[0] for a in range(kernel[0])]
        columns = [j * strides[1] - pads[1] + b * dilations[1] for b in range(kernel[1])]
        inside = [x[n, r, c] for r in rows for c in columns if 0 <= r < h and 0 <= c < w]
        padded = sum(-pads[0] <= r < h + pads[2] and -pads[1] <= c < w + pads[3] for r in rows for c in columns)
        yield (n, i, j), inside, padded


def attributes(case):
    return {"kernel": case[1], "strides": case[2], "pads": case[3], "dilations": case[4]}


@each_isa
@each_case
def test_max_pool(isa, case):
    x = sample(case[0], np.float32)
    want = np.full(output_shape(case), -np.inf, np.float32)
    for at, inside, _ in windows(case, x):
        if inside:
            want[at] = np.max(inside, axis=0)
    np.testing.assert_array_equal(one("max_pool2d_f32", [x], attributes(case), want.shape, np.float32, isa), want)


@each_isa
@each_case
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(isa, case, include):
    x = sample(case[0], np.float32)
    want = np.full(output_shape(case), np.nan)
    for at, inside, padded in windows(case, x.astype(np.float64)):
        count = padded if include else len(inside)
        if count:
            want[at] = np.sum(inside, axis=0) / count if inside else 0
    got = one(
        "average_pool2d_f32", [x], {**attributes(case), "count_include_pad": (include,)}, want.shape, np.float32, isa
    )
    close(got, want, case[1][0] * case[1][1] * EPS * 12)


@each_isa
@pytest.mark.parametrize("c", [1, 5, 8, 40])
@pytest.mark.parametrize("op", ["max_pool2d_f32", "average_pool2d_f32"])
def test_nan_reaches_exactly_its_windows(isa, op, c):
    x = sample((1, 6, 6, c), np.float32)
    x[0, 2, 3, c - 1] = np.nan
    got = one(op, [x], {"kernel": (2, 2), "strides": (2, 2)}, (1, 3, 3, c), np.float32, isa)
    want = np.zeros((1, 3, 3, c), bool)
    want[0, 1, 1, c - 1] = True
    np.testing.assert_array_equal(np.isnan(got), want)


@each_isa
@pytest.mark.parametrize("at", range(9))
def test_nan_anywhere_in_a_window_wins(isa, at):
    x = sample((1, 3, 3, 16), np.float32)
    x.reshape(9, 16)[at, 3] = np.nan
    got = one("max_pool2d_f32", [x], {"kernel": (3, 3)}, (1, 1, 1, 16), np.float32, isa)
    assert np.isnan(got[0, 0, 0, 3]) and np.isfinite(np.delete(got, 3)).all()


@each_isa
@pytest.mark.parametrize(
    "shape",
    [
        (1, 7, 7, 64),
        (2, 3, 5, 3),
        (1, 49, 1, 33),
        (3, 1, 1, 10),
        (2, 9, 40),
        (1, 200, 200, 5),
        (2, 4),
        (1, 0, 3, 4),
        (0, 2, 2, 3),
    ],
    ids=str,
)
def test_global_pools(isa, shape):
    x = sample(shape, np.float32)
    axes = tuple(range(1, len(shape) - 1))
    out = (shape[0], *(1 for _ in axes), shape[-1])
    with np.errstate(all="ignore"):
        mean = x.astype(np.float64).sum(axes, keepdims=True) / np.prod([shape[a] for a in axes])
    close(one("global_average_pool_f32", [x], {}, out, np.float32, isa), mean, 16 * EPS * 12)
    np.testing.assert_array_equal(
        one("global_max_pool_f32", [x], {}, out, np.float32, isa), x.max(axes, keepdims=True, initial=-np.inf)
    )


@pytest.mark.parametrize(
    ("attrs", "shape", "out"),
    [
        ({"kernel": (2, 2), "strides": (2, 2)}, (1, 4, 4, 3), (1, 3, 2, 3)),
        ({"kernel": (2, 2), "strides": (0, 2)}, (1, 4, 4, 3), (1, 2, 2, 3)),
        ({"kernel": (2,)}, (1, 4, 4, 3), (1, 3, 3, 3)),
        ({"kernel": (2, 2)}, (1, 4, 4, 3), (1, 3, 3, 4)),
        ({"kernel": (2, 2), "pads": (-1, 0, 0, 0)}, (1, 4, 4, 3), (1, 3, 3, 3)),
        ({"kernel": (2**60, 2)}, (1, 4, 4, 3), (1, 0, 3, 3)),
        ({"kernel": (2, 2)}, (4, 4, 3), (3, 3, 3)),
        ({}, (1, 4, 4, 3), (1, 4, 4, 3)),
        ({"kernel": (5, 5)}, (1, 4, 4, 3), (1, 1, 1, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("op", ["max_pool2d_f32", "average_pool2d_f32"])
def test_inconsistent_requests_are_refused(op, attrs, shape, out):
    with pytest.raises(ValueError, match="query: "):
        call(op, [np.zeros(shape, np.float32)], attrs, [out], np.float32, ISAS[0])
