"""Pools and softmax of bytes: C++ bit for bit the Python definition, and that against float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import DTYPES, ISAS, call, each_isa, native, one, sample
from test_pool import CASES as FLOAT_CASES
from test_pool import attributes, output_shape, windows
from test_quant_elementwise import BYTES, each_byte, same, twin

from edgerun.ops.fixed_point import fixed_point

CASES = [
    *FLOAT_CASES,
    ((2, 7, 7, 130), (7, 7), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((1, 5, 6, 64), (2, 3), (1, 2), (1, 1, 0, 1), (1, 1), False),
    ((1, 17, 18, 3), (17, 18), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((1, 40, 40, 70), (40, 40), (1, 1), (0, 0, 0, 0), (1, 1), False),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: str(c).replace(" ", ""))


@each_isa
@each_case
@each_byte
def test_max_pool(isa, case, dtype):
    x = sample(case[0], DTYPES[dtype])
    want = np.full(output_shape(case), np.iinfo(x.dtype).min, x.dtype)
    for at, inside, _ in windows(case, x):
        if inside:
            want[at] = np.max(inside, axis=0)
    np.testing.assert_array_equal(same(f"max_pool2d_{dtype}", [x], attributes(case), want.shape, x.dtype, isa), want)


def pool_operands(case, source, target, include, values=None):
    """x, the factors of every count, attributes and the exact means."""
    x = sample(case[0], DTYPES[source]) if values is None else np.full(case[0], values, DTYPES[source])
    ratio = 0.83
    low, x_zero = np.iinfo(DTYPES[target]).min, np.iinfo(DTYPES[source]).min + 37
    attrs = {**attributes(case), "x_zero": (x_zero,), "y_zero": (low + 70,), "count_include_pad": (include,)}
    mean = np.zeros(output_shape(case))
    for at, inside, padded in windows(case, x.astype(np.float64)):
        count = padded if include else len(inside)
        if inside:
            mean[at] = (np.sum(inside, axis=0) - len(inside) * x_zero) / count
    scale = fixed_point(ratio / np.arange(1, case[1][0] * case[1][1] + 1))
    return x, scale, attrs, mean * ratio + low + 70


@each_isa
@each_case
@pytest.mark.parametrize("dtypes", [(x, y) for x in BYTES for y in BYTES], ids="-".join)
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(isa, case, dtypes, include):
    x, scale, attrs, exact = pool_operands(case, *dtypes, include)
    dtype = DTYPES[dtypes[1]]
    got = same(f"qaverage_pool2d_{dtypes[0]}", [x, scale], attrs, exact.shape, dtype, isa, constants=[1])
    assert np.all(np.abs(np.clip(exact, np.iinfo(dtype).min, np.iinfo(dtype).max) - got) <= 0.5 + 1e-4)


@each_isa
@each_byte
@pytest.mark.parametrize("extreme", ["min", "max"])
@pytest.mark.parametrize("side", [16, 17, 40])
def test_average_of_extreme_values_in_large_windows(isa, dtype, extreme, side):
    case = ((1, side, side, 33), (side, side), (1, 1), (0, 0, 0, 0), (1, 1), False)
    x, scale, attrs, exact = pool_operands(case, dtype, "u8", 0, getattr(np.iinfo(DTYPES[dtype]), extreme))
    got = same(f"qaverage_pool2d_{dtype}", [x, scale], attrs, exact.shape, np.uint8, isa, constants=[1])
    assert np.all(np.abs(np.clip(exact, 0, 255) - got) <= 0.5 + 1e-4)


@each_isa
@pytest.mark.parametrize("ratio", [0.9, 5.0, 1e7])
def test_average_with_a_left_shift_and_bounds(isa, ratio):
    x, scale = sample((1, 8, 8, 40), np.int8), fixed_point(ratio / np.arange(1, 10))
    attrs = {"kernel": (3, 3), "pads": (1, 1, 1, 1), "x_zero": (-4,), "y_zero": (-10,), "low": (-60,), "high": (50,)}
    got = same("qaverage_pool2d_i8", [x, scale], attrs, x.shape, np.int8, isa, constants=[1])
    assert (got.min(), got.max()) == (-60, 50)


def table_of(scale):
    return np.rint(np.exp(-scale * np.arange(256)) * 2**30).astype(np.int32)


SOFTMAX = [
    ((1, 1000), -1),
    ((3, 1), -1),
    ((5, 7), 1),
    ((70, 2), 1),
    ((2, 21, 9, 11), 1),
    ((2, 64, 64), -1),
    ((4, 128), 0),
    ((2, 3, 65), 1),
    ((2, 3, 130), -2),
    ((1, 5000), -1),
    ((0, 4), -1),
    ((4, 0), -1),
    ((), -1),
    ((33,), 0),
    ((9000, 1), 1),
    ((512, 512), 1),
]
each_softmax = pytest.mark.parametrize(("shape", "axis"), SOFTMAX, ids=str)


@each_isa
@each_softmax
@each_byte
@pytest.mark.parametrize("scale", [0.0, 0.05, 1.0])
def test_softmax_to_floats(isa, shape, axis, dtype, scale):
    x = sample(shape, DTYPES[dtype])
    got = same(f"qsoftmax_{dtype}", [x, table_of(scale)], {"axis": (axis,)}, shape, np.float32, isa, constants=[1])
    if x.size == 0:
        return
    e = np.exp(scale * (x.astype(np.float64) - x.max(axis=axis if shape else None, keepdims=True)))
    want = e / e.sum(axis=axis if shape else None, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@each_isa
@each_softmax
@pytest.mark.parametrize("dtypes", [(x, y) for x in BYTES for y in BYTES], ids="-".join)
@pytest.mark.parametrize(("scale", "inverse"), [(0.0, 2**20), (0.05, 2**20), (0.2, 2**12 * 300 + 1), (3.0, 2**30), (0.1, 0)])
def test_softmax_to_bytes(isa, shape, axis, dtypes, scale, inverse):
    x, low = sample(shape, DTYPES[dtypes[0]]), np.iinfo(DTYPES[dtypes[1]]).min
    attrs = {"axis": (axis,), "inverse": (inverse,), "y_zero": (low + 1,), "low": (low,), "high": (low + 250,)}
    same(f"qsoftmax_{dtypes[0]}", [x, table_of(scale)], attrs, shape, DTYPES[dtypes[1]], isa, constants=[1])


@each_isa
@pytest.mark.parametrize("n", range(1, 600, 13))
@pytest.mark.parametrize("rows", ["across", "along"])
def test_softmax_of_equal_values_meets_every_tie(isa, n, rows):
    """y = R / (2^12 n) exactly at halves for many n: where the f64 quotient must not be trusted."""
    shape, axis = ((2, n), 1) if rows == "along" else ((n, 3), 0)
    x, inverse = np.full(shape, 9, np.uint8), 2**12 * (n // 2) + 2**11 * (n % 3)
    attrs = {"axis": (axis,), "inverse": (max(inverse, 2**11 * n),)}
    same("qsoftmax_u8", [x, table_of(0.1)], attrs, shape, np.uint8, isa, constants=[1])


@each_isa
@pytest.mark.parametrize(("shape", "axis"), [((40, 50), 1), ((40, 50), 0)])
def test_softmax_in_place(isa, shape, axis):
    x, attrs = sample(shape, np.int8), {"axis": (axis,), "inverse": (2**20,), "y_zero": (-128,)}
    want = twin("qsoftmax_i8", [x, table_of(0.1)], attrs, shape, np.int8)
    native.call("qsoftmax_i8", [x, table_of(0.1)], attrs, [x], isa=isa, constants=[1])
    np.testing.assert_array_equal(x, want)


X, SCALE, TABLE = np.zeros((1, 4, 4, 3), np.uint8), fixed_point(1 / np.arange(1, 5)), table_of(0.1)
POOL, SOFT = {"kernel": (2, 2)}, {"inverse": (2**20,)}


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "inputs", "attrs", "shape", "dtype", "reason"),
    [
        ("max_pool2d_u8", [X], {"kernel": (2, 2), "strides": (0, 1)}, (1, 3, 3, 3), np.uint8, "bad_attribute"),
        ("max_pool2d_u8", [X], {"kernel": (2**60, 2)}, (1, 0, 3, 3), np.uint8, "too_large"),
        ("max_pool2d_u8", [X], POOL, (1, 4, 3, 3), np.uint8, "bad_shape"),
        ("max_pool2d_u8", [X], POOL, (1, 3, 3, 3), np.int8, "bad_dtype"),
        ("max_pool2d_i8", [X], POOL, (1, 3, 3, 3), np.int8, "bad_dtype"),
        ("max_pool2d_u8", [X[0]], POOL, (3, 3, 3), np.uint8, "bad_rank"),
        ("max_pool2d_u8", [X, X], POOL, (1, 3, 3, 3), np.uint8, "bad_arity"),
        ("qaverage_pool2d_u8", [X], POOL, (1, 3, 3, 3), np.uint8, "bad_arity"),
        ("qaverage_pool2d_u8", [X, SCALE[:, :3]], POOL, (1, 3, 3, 3), np.uint8, "bad_shape"),
        ("qaverage_pool2d_u8", [X, SCALE[:, :1]], POOL, (1, 3, 3, 3), np.uint8, "bad_shape"),
        ("qaverage_pool2d_u8", [X, SCALE.astype(np.int64)], POOL, (1, 3, 3, 3), np.uint8, "bad_dtype"),
        ("qaverage_pool2d_u8", [X, changed(SCALE, (0, 1), -1)], POOL, (1, 3, 3, 3), np.uint8, "bad_attribute"),
        ("qaverage_pool2d_u8", [X, changed(SCALE, (1, 3), 31)], POOL, (1, 3, 3, 3), np.uint8, "bad_attribute"),
        ("qaverage_pool2d_u8", [X, SCALE], {"kernel": (2**20, 2**20)}, (1, 0, 0, 3), np.uint8, "too_large"),
        ("qaverage_pool2d_u8", [X, SCALE], {**POOL, "x_zero": (256,)}, (1, 3, 3, 3), np.uint8, "bad_attribute"),
        ("qaverage_pool2d_u8", [X, SCALE], {**POOL, "low": (-1,)}, (1, 3, 3, 3), np.uint8, "bad_attribute"),
        ("qaverage_pool2d_u8", [X, SCALE], POOL, (1, 3, 3, 3), np.float32, "bad_dtype"),
        ("qsoftmax_u8", [X, TABLE], SOFT, (1, 4, 4, 2), np.uint8, "bad_shape"),
        ("qsoftmax_u8", [X, TABLE[:255]], SOFT, X.shape, np.uint8, "bad_shape"),
        ("qsoftmax_u8", [X, TABLE.reshape(2, 128)], SOFT, X.shape, np.uint8, "bad_rank"),
        ("qsoftmax_u8", [X, changed(TABLE, 0, 0)], SOFT, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, changed(TABLE, 9, -1)], SOFT, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, changed(TABLE, 0, 2**30 + 1)], SOFT, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, TABLE], {}, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, TABLE], {"inverse": (2**30 + 1,)}, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, TABLE], {**SOFT, "axis": (4,)}, X.shape, np.uint8, "bad_attribute"),
        ("qsoftmax_u8", [X, TABLE], SOFT, X.shape, np.float64, "bad_dtype"),
        ("qsoftmax_u8", [np.zeros((2**19 + 1,), np.uint8), TABLE], SOFT, (2**19 + 1,), np.uint8, "too_large"),
    ],
)
def test_inconsistent_requests_are_refused(name, inputs, attrs, shape, dtype, reason):
    with pytest.raises(ValueError, match=f"query: {reason}"):
        call(name, inputs, attrs, [shape], dtype, ISAS[0], constants=[1])


@pytest.mark.parametrize(
    ("name", "inputs", "shape"), [("qaverage_pool2d_u8", [X, SCALE], (1, 3, 3, 3)), ("qsoftmax_u8", [X, TABLE], X.shape)]
)
def test_what_must_be_constant(name, inputs, shape):
    with pytest.raises(ValueError, match="query: not_constant"):
        one(name, inputs, {**POOL, **SOFT}, shape, np.uint8, ISAS[0])
