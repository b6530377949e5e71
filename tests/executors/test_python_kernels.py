"""Python kernels against float64 definitions written out here, and their corner cases."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from edgerun_kernels import special
from edgerun_kernels.jit import conv2d_dw
from edgerun_kernels.jit.unary import KERNELS as UNARY
from edgerun_kernels.registry import KERNELS
from edgerun_kernels.types import BadIndex

EPS = np.finfo(np.float32).eps
INF, NAN = np.float32(np.inf), np.float32(np.nan)


def call(name: str, inputs: list, shape: tuple[int, ...], dtype: type = np.float32, **attrs: tuple) -> np.ndarray:
    y = np.empty(shape, dtype)
    KERNELS[name]([None if x is None else np.ascontiguousarray(x) for x in inputs], attrs, [y], None)
    return y


def conv_truth(x, w, b, r, strides, pads, dilations, group, out_hw):
    """The definition, one output value after the other. w[Co,KH,KW,Ci/g]. Returns (y, Σ|x||w| + |b| + |r|)."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    cin, cout = w.shape[3], w.shape[0] // group
    y = np.zeros((x.shape[0], *out_hw, w.shape[0]))
    size = np.zeros_like(y)
    for n, oh, ow, co, kh, kw in product(*map(range, (*y.shape, *w.shape[1:3]))):
        ih, iw = oh * strides[0] + kh * dilations[0] - pads[0], ow * strides[1] + kw * dilations[1] - pads[1]
        if 0 <= ih < x.shape[1] and 0 <= iw < x.shape[2]:
            g = co // cout
            terms = x[n, ih, iw, g * cin : (g + 1) * cin] * w[co, kh, kw]
            y[n, oh, ow, co] += terms.sum()
            size[n, oh, ow, co] += np.abs(terms).sum()
    return y + b + r, size + np.abs(b) + np.abs(r)


GEOMETRIES = [  # H, W, kernel, strides, pads (t l b r), dilations
    (1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    (5, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (7, 5, (3, 2), (2, 1), (0, 1, 2, 0), (1, 2)),
    (1, 9, (1, 3), (1, 2), (0, 1, 0, 1), (1, 1)),
    (8, 8, (2, 3), (3, 2), (1, 0, 0, 2), (2, 1)),
]


def out_size(geometry) -> tuple[int, int]:
    height, width, kernel, strides, pads, dilations = geometry
    return tuple((n + pads[k] + pads[2 + k] - (kernel[k] - 1) * dilations[k] - 1) // strides[k] + 1
                 for k, n in enumerate((height, width)))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("group", "cin", "cout"), [(1, 3, 5), (2, 2, 3), (4, 1, 2)])
def test_conv2d(geometry, group: int, cin: int, cout: int) -> None:
    height, width, kernel, strides, pads, dilations = geometry
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, height, width, cin * group)).astype(np.float32)
    w = rng.standard_normal((cout * group, *kernel, cin)).astype(np.float32)
    b = rng.standard_normal(cout * group).astype(np.float32)
    shape = (2, *out_size(geometry), cout * group)
    r = rng.standard_normal(shape).astype(np.float32)
    truth, size = conv_truth(x, w, b, r, strides, pads, dilations, group, shape[1:3])
    y = call("conv2d_f32", [x, w, b, r], shape, strides=strides, pads=pads, dilations=dilations, group=(group,))
    assert np.all(np.abs(y - truth) <= 2 * (w[0].size + 2) * EPS * size)


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_conv2d_dw(monkeypatch: pytest.MonkeyPatch, geometry, multiplier: int, numba: bool) -> None:
    if numba and not conv2d_dw.HAVE_NUMBA:
        pytest.skip("numba is not installed")
    monkeypatch.setattr(conv2d_dw, "HAVE_NUMBA", numba)
    height, width, kernel, strides, pads, dilations = geometry
    rng = np.random.default_rng(8)
    channels = 4
    x = rng.standard_normal((1, height, width, channels)).astype(np.float32)
    w = rng.standard_normal((*kernel, channels * multiplier)).astype(np.float32)
    b = rng.standard_normal(channels * multiplier).astype(np.float32)
    shape = (1, *out_size(geometry), channels * multiplier)
    grouped = np.moveaxis(w, -1, 0)[..., None]
    truth, size = conv_truth(x, grouped, b, 0.0, strides, pads, dilations, channels, shape[1:3])
    y = call("conv2d_dw_f32", [x, w, b], shape, strides=strides, pads=pads, dilations=dilations)
    assert np.all(np.abs(y - truth) <= 2 * (kernel[0] * kernel[1] + 1) * EPS * size)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("strides", "pads", "dilations", "extra"), [
    ((1, 1), (0, 0, 0, 0), (1, 1), 0), ((2, 3), (1, 0, 0, 2), (1, 1), 1), ((2, 2), (1, 1, 1, 1), (2, 1), 0),
])
def test_conv_transpose2d_is_the_adjoint_of_conv2d(group: int, strides, pads, dilations, extra: int) -> None:
    rng = np.random.default_rng(9)
    height, width, kernel = 4, 3, (3, 2)
    x = rng.standard_normal((1, height, width, 2 * group)).astype(np.float32)
    w = rng.standard_normal((3, *kernel, 2 * group)).astype(np.float32)
    out_hw = tuple((n - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 - pads[k] - pads[k + 2] + extra
                   for k, n in enumerate((height, width)))
    y = call("conv_transpose2d_f32", [x, w], (1, *out_hw, 3 * group), strides=strides, pads=pads, dilations=dilations,
             group=(group,))
    truth = np.zeros(y.shape)
    for h, v, g, co, i, j in product(range(height), range(width), range(group), range(3), *map(range, kernel)):
        oh, ow = h * strides[0] + i * dilations[0] - pads[0], v * strides[1] + j * dilations[1] - pads[1]
        if 0 <= oh < out_hw[0] and 0 <= ow < out_hw[1]:
            part = slice(2 * g, 2 * g + 2)
            truth[0, oh, ow, 3 * g + co] += x[0, h, v, part].astype(np.float64) @ w[co, i, j, part]
    np.testing.assert_allclose(y, truth, atol=1e-5)


@pytest.mark.parametrize(("trans_a", "trans_b", "bias", "lead_a", "lead_b"), [
    (0, 0, None, (), ()), (1, 0, (5,), (), ()), (0, 1, (1,), (2,), ()), (1, 1, (4, 5), (3, 1), (1, 2)),
])
def test_matmul(trans_a: int, trans_b: int, bias, lead_a, lead_b) -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((*lead_a, *((7, 4) if trans_a else (4, 7)))).astype(np.float32)
    b = rng.standard_normal((*lead_b, *((5, 7) if trans_b else (7, 5)))).astype(np.float32)
    c = None if bias is None else rng.standard_normal(bias).astype(np.float32)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    wide_a = wide_a.swapaxes(-1, -2) if trans_a else wide_a
    wide_b = wide_b.swapaxes(-1, -2) if trans_b else wide_b
    truth = 0.5 * np.matmul(wide_a, wide_b)
    truth = truth if c is None else truth + c
    y = call("matmul_f32", [a, b, c], truth.shape, trans_a=(trans_a,), trans_b=(trans_b,), alpha=(0.5,))
    np.testing.assert_allclose(y, truth, atol=20 * EPS, rtol=20 * EPS)


SIGNED = ("i8", "i16", "i32", "i64")
NUMPY = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "u8": np.uint8, "u32": np.uint32}


@pytest.mark.parametrize("dtype", SIGNED)
def test_integer_division_truncates_and_by_zero_gives_zero(dtype: str) -> None:
    low = np.iinfo(NUMPY[dtype]).min
    a = np.array([7, -7, 7, -7, 5, -5, 0, low, low], NUMPY[dtype])
    b = np.array([2, 2, -2, -2, 0, 0, 3, -1, 1], NUMPY[dtype])
    assert call(f"div_{dtype}", [a, b], a.shape, NUMPY[dtype]).tolist() == [3, -3, -3, 3, 0, 0, 0, low, low]


@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_integer_power_wraps_and_inverts(dtype: str) -> None:
    a = np.array([2, -3, 2, 1, -1, -1, 0, 0, 3], NUMPY[dtype])
    b = np.array([10, 3, -1, -5, -2, -3, -1, 0, 100], NUMPY[dtype])
    wrapped = pow(3, 100, 2 ** (8 * a.itemsize))
    wrapped -= 2 ** (8 * a.itemsize) if wrapped >= 2 ** (8 * a.itemsize - 1) else 0
    assert call(f"pow_{dtype}", [a, b], a.shape, NUMPY[dtype]).tolist() == [1024, -27, 0, 1, 1, -1, 0, 1, wrapped]


@pytest.mark.parametrize("source", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("dtype", ["i8", "u8", "i32", "u32", "i64"])
def test_cast_from_float_truncates_and_saturates(source: type, dtype: str) -> None:
    info = np.iinfo(NUMPY[dtype])
    x = np.array([1.9, -0.9, NAN, INF, -INF, 100.5], source)
    name = {np.float32: "f32", np.float64: "f64", np.float16: "f16"}[source]
    y = call(f"cast_{name}_{dtype}", [x], x.shape, NUMPY[dtype])
    assert y.tolist() == [1, 0, 0, info.max, info.min, 100]


def test_cast_to_bool_and_between_integers() -> None:
    x = np.array([0, -0.0, 0.5, NAN], np.float32)
    assert call("cast_f32_b8", [x], (4,), np.bool_).tolist() == [False, False, True, True]
    assert call("cast_i64_u8", [np.array([-1, 256, 300], np.int64)], (3,), np.uint8).tolist() == [255, 0, 44]
    assert call("cast_b8_f32", [np.array([True, False])], (2,)).tolist() == [1.0, 0.0]


def test_gather_out_of_range_is_refused() -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    with pytest.raises(BadIndex, match=r"index 3 at position 1 is not in \[-3, 3\)"):
        call("gather_x32", [x, np.array([[-3, 3], [0, -4]], np.int64)], (2, 2, 2), axis=(1,))


@pytest.mark.parametrize("name", sorted({*UNARY, "erf_f32"} & {
    "exp_f32", "log_f32", "sqrt_f32", "neg_f32", "abs_f32", "reciprocal_f32", "floor_f32", "ceil_f32", "erf_f32"}))
def test_unary_float(name: str) -> None:
    functions = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "neg": np.negative, "abs": np.abs, "floor": np.floor,
                 "ceil": np.ceil, "reciprocal": np.reciprocal, "erf": np.vectorize(math.erf)}
    x = np.array([0.0, 0.5, 1.0, 2.25, 3.7, 1e-30, 80.0, NAN], np.float32)
    with np.errstate(all="ignore"):
        truth = functions[name[:-4]](x.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_max_ulp(call(name, [x], x.shape), truth, 1)


@pytest.mark.parametrize("numba", [True, False])
def test_erf_with_and_without_numba(monkeypatch: pytest.MonkeyPatch, numba: bool) -> None:
    if numba and not special.HAVE_NUMBA:
        pytest.skip("numba is not installed")
    monkeypatch.setattr(special, "HAVE_NUMBA", numba)
    x = np.linspace(-4, 4, 11)
    np.testing.assert_allclose(special.erf64(x), [math.erf(v) for v in x], rtol=1e-15)
    np.testing.assert_allclose(special.erfc64(x), [math.erfc(v) for v in x], rtol=1e-15)


@pytest.mark.parametrize(("name", "attrs"), [
    ("relu_f32", {}), ("clip_f32", {"act_alpha": (-1.0,), "act_beta": (1.0,)}), ("sigmoid_f32", {}), ("tanh_f32", {}),
    ("hard_sigmoid_f32", {"act_alpha": (0.2,), "act_beta": (0.5,)}), ("leaky_relu_f32", {"act_alpha": (0.1,)}),
    ("hard_swish_f32", {}), ("silu_f32", {}), ("gelu_f32", {"tanh": (0,)}), ("gelu_f32", {"tanh": (1,)}),
    ("elu_f32", {"act_alpha": (1.0,)}), ("softmax_f32", {"axis": (1,)}), ("log_softmax_f32", {"axis": (1,)}),
])
def test_nan_in_nan_out(name: str, attrs: dict) -> None:
    y = call(name, [np.array([[1, NAN], [0.5, -0.5]], np.float32)], (2, 2), **attrs)
    assert np.isnan(y[0, 1])
    assert np.isfinite(y[1]).all()


@pytest.mark.parametrize(("op", "expected"), [("max", 4), ("min", 3), ("sum", 7), ("mean", 3.5), ("prod", 12)])
def test_reductions_propagate_nan(op: str, expected: float) -> None:
    x = np.array([[1, NAN], [3, 4]], np.float32)
    y = call(f"reduce_{op}_f32", [x], (2,), axes=(1,))
    assert np.isnan(y[0])
    assert y[1] == expected


@pytest.mark.parametrize(("op", "empty"), [("sum", 0.0), ("max", -INF), ("min", INF), ("prod", 1.0)])
def test_reductions_of_nothing_give_the_identity(op: str, empty: float) -> None:
    assert call(f"reduce_{op}_f32", [np.empty((2, 0), np.float32)], (2, 1), axes=(1,)).tolist() == [[empty], [empty]]


@pytest.mark.parametrize(("last", "expected"), [(0, [1, 0]), (1, [2, 0])])
def test_arg_max_of_equals(last: int, expected: list[int]) -> None:
    x = np.array([[1, 5, 5], [9, 1, 2]], np.float32)
    assert call("arg_max_f32", [x], (2,), np.int64, axis=(1,), select_last=(last,)).tolist() == expected


def test_max_pool_pads_with_minus_infinity_and_propagates_nan() -> None:
    x = np.array([-3, -2, NAN, -1], np.float32).reshape(1, 2, 2, 1)
    y = call("max_pool2d_f32", [x], (1, 2, 2, 1), kernel=(2, 1), strides=(1, 1), pads=(1, 0, 0, 0))
    assert y.reshape(-1)[:2].tolist() == [-3, -2]
    assert np.isnan(y.reshape(-1)[2])
    assert y.reshape(-1)[3] == -1


@pytest.mark.parametrize(("include", "expected"), [(0, [1, 1.5, 2]), (1, [0.5, 1.5, 1])])
def test_average_pool_counts_what_it_is_told(include: int, expected: list[float]) -> None:
    x = np.array([1, 2], np.float32).reshape(1, 1, 2, 1)
    y = call("average_pool2d_f32", [x], (1, 1, 3, 1), kernel=(1, 2), strides=(1, 1), pads=(0, 1, 0, 1),
             count_include_pad=(include,))
    assert y.reshape(-1).tolist() == expected


@pytest.mark.parametrize(("pads", "mode", "expected"), [
    ((2, 1), 0, [9, 9, 1, 2, 3, 9]), ((2, 1), 1, [3, 2, 1, 2, 3, 2]), ((2, 1), 2, [1, 1, 1, 2, 3, 3]),
    ((2, 1), 3, [2, 3, 1, 2, 3, 1]), ((-1, 2), 0, [2, 3, 9, 9]), ((4, 0), 1, [1, 2, 3, 2, 1, 2, 3]),
])
def test_pad(pads: tuple, mode: int, expected: list[float]) -> None:
    x, value = np.array([1, 2, 3], np.float32), np.array(9, np.float32)
    y = call("pad_x32", [x, value], (len(expected),), pads=pads, mode=(mode,))
    assert y.tolist() == expected


@pytest.mark.parametrize(("start", "step", "expected"), [
    (0, 1, [0, 1]), (3, -1, [3, 2, 1, 0]), (1, 2, [1, 3]), (3, -3, [3, 0]), (2, 1, []),
])
def test_slice(start: int, step: int, expected: list[float]) -> None:
    x = np.arange(4, dtype=np.float32)
    assert call("slice_x32", [x], (len(expected),), starts=(start,), steps=(step,)).tolist() == expected


@pytest.mark.parametrize(("scale", "coord", "nearest", "expected"), [
    (2.0, 3, 2, [1, 1, 2, 2, 3, 3]), (2.0, 0, 0, [1, 1, 2, 2, 3, 3]), (0.7, 3, 2, [1, 2]), (1.5, 3, 3, [1, 2, 3, 3]),
    (0.67, 0, 1, [1, 3]), (2.0, 2, 0, [1, 1, 2, 2, 3, 3]),
])
def test_resize_nearest(scale: float, coord: int, nearest: int, expected: list[float]) -> None:
    x = np.array([1, 2, 3], np.float32)
    y = call("resize_nearest_x32", [x], (len(expected),), scales=(scale,), coord=(coord,), nearest=(nearest,))
    assert y.tolist() == expected


@pytest.mark.parametrize(("coord", "expected"), [
    (0, [1, 1.25, 1.75, 2]), (2, [1, 4 / 3, 5 / 3, 2]), (3, [1, 1.5, 2, 2]),
])
def test_resize_linear(coord: int, expected: list[float]) -> None:
    y = call("resize_linear_f32", [np.array([[1], [2]], np.float32)], (4, 1), scales=(2.0, 1.0), coord=(coord,))
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-6)


def test_resize_linear_keeps_infinities_out_of_their_neighbours() -> None:
    y = call("resize_linear_f32", [np.array([1, 3, INF], np.float32)], (6,), scales=(2.0,), coord=(3,))
    assert y.tolist() == [1, 2, 3, INF, INF, INF]


def test_power_of_minus_infinity() -> None:
    assert call("pow_f32", [np.array([-INF, -0.0], np.float32), np.array(0.5, np.float32)], (2,)).tolist() == [INF, 0.0]


@pytest.mark.parametrize("layout", [0, 1])
def test_difficulty_of_a_step_edge(layout: int) -> None:
    image = np.zeros((4, 6), np.float32)
    image[:, 3:] = 1
    x = image[None, None] if layout == 0 else image[None, :, :, None]
    y = call("difficulty_f32", [x], (4,), layout=(layout,), scale=(1.0,), offset=(0.0,), gray=(1.0,), tau_edge=(1.0,),
             low=(0.0, 0.0, 0.0), high=(0.5, 0.5, 2.0), weights=(0.4, 0.3, 0.3))
    # Two of six columns see the edge (Sobel 4, Laplacian 1); the variance of half zeros, half ones is 1/4.
    np.testing.assert_allclose(y[1:], [1 / 3, 0.25, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(y[0], 0.4 * 2 / 3 + 0.3 * 0.5 + 0.3 / 6, rtol=1e-6)


@pytest.mark.parametrize("name", ["relu_f32", "sigmoid_f32", "exp_f32", "neg_i32", "add_f32", "mul_i64"])
def test_elementwise_kernels_work_in_place(name: str) -> None:
    dtype = {"f32": np.float32, "i32": np.int32, "i64": np.int64}[name[-3:]]
    x = np.array([-2, -1, 0, 1, 2], dtype)
    inputs = [x, x] if name[:3] in ("add", "mul") else [x]
    expected = call(name, [v.copy() for v in inputs], x.shape, dtype)
    KERNELS[name](inputs, {}, [x], None)
    np.testing.assert_array_equal(x, expected)
