"""int8 convolution and matmul: the same bits as the Python definition, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_case import each_isa, native, one, sample

from edgerun.ops.fixed_point import fixed_point
from edgerun_kernels.registry import KERNELS

BYTES = ("i8", "u8")
DTYPES = {"i8": np.int8, "u8": np.uint8, "i32": np.int32}


def both(name: str, inputs: list[Any], attrs: dict[str, Any], shape: tuple[int, ...], dtype: Any, isa: str) -> np.ndarray:
    """The C++ result, after comparing it with the Python kernel's."""
    want = np.empty(shape, dtype)
    KERNELS[name](inputs, attrs, [want], None)
    got = one(name, inputs, attrs, shape, dtype, isa, constants=list(range(1, len(inputs))))
    np.testing.assert_array_equal(got, want, err_msg=f"{name} ({isa})")
    return got


def factors(columns: int, terms: int, seed: int, large: bool = False) -> np.ndarray:
    """(m, left) that bring sums of `terms` products back to bytes; large: some columns shift left."""
    rng = np.random.default_rng(seed)
    real = rng.uniform(0.2, 2, columns) / (40 * np.sqrt(terms) * 20)
    if large:
        real[::3] = rng.uniform(0.5, 40, real[::3].shape)
    return fixed_point(real)


CONVS = [  # n, h, w, ci, co, kernel, stride, dilation, pads, group
    (1, 7, 9, 3, 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 8, 8, 16, 17, (3, 3), (2, 2), (1, 1), (1, 1, 0, 0), 1),
    (1, 5, 6, 5, 33, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (3, 9, 9, 7, 16, (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), 1),
    (1, 12, 11, 4, 24, (5, 3), (1, 2), (2, 2), (4, 2, 4, 2), 1),
    (1, 6, 6, 12, 20, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 4),
    (1, 1, 1, 64, 70, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 2, 2, 130, 48, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 40, 40, 8, 16, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 16, 15, 16, 16, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 9, 10, 20, 27, (3, 3), (1, 1), (1, 1), (2, 0, 1, 1), 1),
    (1, 7, 5, 200, 40, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 4, 4, 2, 3, (4, 4), (1, 1), (1, 1), (3, 3, 3, 3), 1),
]


def conv_shape(case: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    n, h, w, _, co, kernel, stride, dilation, pads, _ = case
    size = [(d + pads[k] + pads[k + 2] - (kernel[k] - 1) * dilation[k] - 1) // stride[k] + 1 for k, d in enumerate((h, w))]
    return (n, *size, co), {"strides": stride, "pads": pads, "dilations": dilation}


@each_isa
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("case", CONVS, ids=str)
@pytest.mark.parametrize("form", ["plain", "wide_weights", "large", "raw", "one_factor"])
def test_conv(case: Any, dtype: str, form: str, isa: str) -> None:
    n, h, w, ci, co, kernel, _, _, _, group = case
    shape, attrs = conv_shape(case)
    x, terms = sample((n, h, w, ci), DTYPES[dtype], 1), kernel[0] * kernel[1] * ci // group
    weights = sample((co, *kernel, ci // group), np.int8, 2).astype(np.int16 if form == "wide_weights" else np.int8)
    if form == "wide_weights":
        weights = (weights * 2).clip(-255, 255)
    bias = np.random.default_rng(3).integers(-2000, 2000, co).astype(np.int32)
    scale = factors(1 if form == "one_factor" else co, terms, 4, form == "large")
    attrs |= {"group": (group,), "x_zero": (17 if dtype == "u8" else -5,), "y_zero": (3,)}
    if form == "raw":
        both(f"qconv2d_{dtype}", [x, weights, bias], attrs, shape, np.int32, isa)
        return
    got = both(f"qconv2d_{dtype}", [x, weights, bias, scale], attrs, shape, DTYPES[dtype], isa)
    assert len(np.unique(got)) > min(got.size // 4, 20)
    both(f"qconv2d_{dtype}", [x, weights, None, scale], {**attrs, "low": (3,), "high": (90,)}, shape, np.int8, isa)


DEPTHWISE = [  # n, h, w, c, multiplier, kernel, stride, dilation, pads
    (1, 6, 7, 8, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 9, 8, 19, 1, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    (1, 5, 13, 33, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 8, 8, 16, 2, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 11, 9, 5, 1, (5, 5), (1, 2), (1, 1), (2, 2, 2, 2)),
    (1, 11, 9, 24, 1, (4, 3), (3, 1), (2, 2), (3, 2, 3, 2)),
    (1, 7, 7, 600, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (1, 5, 5, 3, 1, (1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
    (1, 30, 3, 64, 1, (30, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    (1, 6, 10, 40, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 3, 301, 64, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    (2, 6, 8, 8, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),  # several outputs in a vector, where it is long enough
    (2, 5, 16, 4, 1, (3, 3), (2, 1), (1, 2), (1, 2, 1, 2)),
    (1, 5, 32, 1, 1, (2, 3), (1, 1), (1, 1), (0, 1, 0, 1)),
    (2, 32, 1, 40, 1, (5, 1), (2, 1), (1, 1), (2, 0, 1, 0)),  # one column
    (1, 30, 1, 70, 1, (3, 1), (1, 1), (2, 1), (0, 0, 0, 0)),
    (2, 40, 1, 8, 2, (10, 1), (3, 1), (1, 1), (4, 0, 5, 0)),
    (1, 300, 1, 200, 1, (3, 1), (1, 1), (1, 1), (1, 0, 1, 0)),
]


@each_isa
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
@pytest.mark.parametrize("form", ["plain", "wide_weights", "large", "raw"])
def test_depthwise(case: Any, dtype: str, form: str, isa: str) -> None:
    n, h, w, c, m, kernel, stride, dilation, pads = case
    shape, attrs = conv_shape((n, h, w, c, c * m, kernel, stride, dilation, pads, c))
    x = sample((n, h, w, c), DTYPES[dtype], 1)
    weights = sample((*kernel, c * m), np.int8, 2).astype(np.int16 if form == "wide_weights" else np.int8)
    if form == "wide_weights":
        weights = (weights * 2).clip(-255, 255)
    bias = np.random.default_rng(3).integers(-2000, 2000, c * m).astype(np.int32)
    attrs |= {"x_zero": (200 if dtype == "u8" else -128,), "y_zero": (3,)}
    if form == "raw":
        both(f"qconv2d_dw_{dtype}", [x, weights, bias], attrs, shape, np.int32, isa)
        return
    scale = factors(c * m, kernel[0] * kernel[1], 4, form == "large")
    both(f"qconv2d_dw_{dtype}", [x, weights, bias, scale], attrs, shape, DTYPES[dtype], isa)
    both(f"qconv2d_dw_{dtype}", [x, weights, None, scale], {**attrs, "low": (0,), "high": (90,)}, shape, np.uint8, isa)


PRODUCTS = [  # a, b, constant b
    ((5, 12), (12, 9), True), ((1, 640), (640, 128), True), ((1, 63), (63, 70), True), ((30, 7), (7, 16), True),
    ((2, 3, 4, 5), (5, 6), True), ((7, 12), (12, 9), False), ((3, 4, 5), (3, 5, 18), False), ((2, 1, 4, 9), (3, 9, 20), False),
    ((1, 1), (1, 1), True), ((4, 0), (0, 3), True), ((0, 4), (4, 3), True), ((26, 33), (33, 40), False),
]


@each_isa
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("case", PRODUCTS, ids=str)
@pytest.mark.parametrize("form", ["plain", "wide_weights", "large", "raw", "other_b"])
def test_matmul(case: Any, dtype: str, form: str, isa: str) -> None:
    a_shape, b_shape, constant = case
    a, columns = sample(a_shape, DTYPES[dtype], 1), b_shape[-1]
    shape = (*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), a_shape[-2], columns)
    attrs: dict[str, Any] = {"a_zero": (5,), "y_zero": (3,)}
    if constant:
        b = sample(b_shape, np.int8, 2).astype(np.int16 if form == "wide_weights" else np.int8)
        if form == "wide_weights":
            b = (b * 2).clip(-255, 255)
    else:
        b = sample(b_shape, DTYPES[("u8" if dtype == "i8" else "i8") if form == "other_b" else dtype], 2)
        attrs["b_zero"] = (9,)
    bias = np.random.default_rng(3).integers(-2000, 2000, columns).astype(np.int32)
    scale = factors(columns, a_shape[-1] or 1, 4, form == "large")
    name, inputs, out = f"qmatmul_{dtype}", [a, b, bias, scale], DTYPES[dtype]
    if form == "raw":
        inputs, out = inputs[:3], np.int32
    want = np.empty(shape, out)
    KERNELS[name](inputs, attrs, [want], None)
    got = one(name, inputs, attrs, shape, out, isa, constants=[k for k in range(1, len(inputs)) if constant or k > 1])
    np.testing.assert_array_equal(got, want)


@each_isa
def test_extremes_do_not_wrap(isa: str) -> None:
    """The largest products of both signs, in enough terms to need all of int32."""
    k = 60000
    a = np.zeros((2, k), np.uint8)
    a[0] = 255
    b = np.full((k, 2), 127, np.int8)
    b[:, 1] = -128
    got = both("qmatmul_u8", [a, b, None], {}, (2, 2), np.int32, isa)
    assert got[0].tolist() == [255 * 127 * k, -255 * 128 * k]


@each_isa
@pytest.mark.parametrize(("change", "status"), [
    ({"x_zero": (256,)}, "bad_attribute"), ({"low": (-1,)}, "bad_attribute"), ({"low": (9,), "high": (8,)}, "bad_attribute"),
    ({"strides": (0, 1)}, "bad_attribute"), ({"group": (2,)}, "bad_shape"),
])
def test_refusals(change: dict[str, Any], status: str, isa: str) -> None:
    shape, attrs = (1, 4, 4, 5), {"x_zero": (3,), **change}
    inputs = [sample((1, 4, 4, 3), np.uint8), sample((5, 1, 1, 3), np.int8), None, fixed_point(0.01)]
    with pytest.raises(ValueError, match=status):
        one("qconv2d_u8", inputs, attrs, shape, np.uint8, isa, constants=[1, 3])


@each_isa
def test_sums_that_could_overflow_are_refused(isa: str) -> None:
    inputs = [sample((1, 70000), np.uint8), np.full((70000, 1), 127, np.int8), None, fixed_point(1e-6)]
    with pytest.raises(ValueError, match="too_large"):
        one("qmatmul_u8", inputs, {}, (1, 1), np.uint8, isa, constants=[1, 3])
    bad = np.array([[1 << 30], [0]], np.int32)
    with pytest.raises(ValueError, match="bad_attribute"):
        one("qmatmul_u8", [inputs[0][:, :9], inputs[1][:9], None, bad], {}, (1, 1), np.uint8, isa, constants=[1, 3])


def test_native_kernels_are_there() -> None:
    assert {"qconv2d_i8", "qconv2d_dw_u8", "qmatmul_i8"} <= set(native.names())
