"""Elementwise kernels: exact against NumPy for integers and single operations, float64 with ULP bounds for functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kernel_case import DTYPES, EPS, ISAS, LENGTHS, NUMBERS, SIZES, call, close, each_isa, native, one, sample

each_number = pytest.mark.parametrize("dtype", NUMBERS)
each_length = pytest.mark.parametrize("n", LENGTHS)
verf = np.vectorize(math.erf, otypes=[np.float64])


def truncated_division(a, b):
    if a.dtype.kind == "f":
        return a / b
    out = np.zeros(a.shape, a.dtype)
    for k in np.ndindex(a.shape):
        p, q = int(a[k]), int(b[k])
        value = 0 if q == 0 else (abs(p) // abs(q)) * (1 if (p < 0) == (q < 0) else -1)
        out[k] = np.array([value & (2 ** (8 * a.itemsize) - 1)], np.uint64).astype(f"u{a.itemsize}").view(a.dtype)[0]
    return out


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": truncated_division,
    "min": np.minimum,
    "max": np.maximum,
}
COMPARE = {
    "equal": np.equal,
    "greater": np.greater,
    "less": np.less,
    "greater_or_equal": np.greater_equal,
    "less_or_equal": np.less_equal,
}


@each_isa
@each_number
@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("n", [0, 1, 7, 33, 4099])
def test_arithmetic(isa, dtype, op, n):
    a, b = sample((n,), DTYPES[dtype], 1), sample((n,), DTYPES[dtype], 2)
    if n > 4 and a.dtype.kind in "iu":
        b[:3], b[3], a[3] = 0, b.dtype.type(-1) if a.dtype.kind == "i" else 1, np.iinfo(a.dtype).min
    with np.errstate(all="ignore"):
        want = BINARY[op](a, b)
    np.testing.assert_array_equal(one(f"{op}_{dtype}", [a, b], {}, (n,), a.dtype, isa), want)


SHAPES = [
    ((), ()),
    ((1,), (5,)),
    ((3, 1), (1, 4)),
    ((2, 9, 9, 16), (16,)),
    ((2, 9, 9, 3), (3,)),
    ((3,), (2, 50, 40, 3)),
    ((2, 9, 9, 16), (2, 1, 1, 16)),
    ((2, 30, 30, 3), (2, 1, 1, 3)),
    ((4, 5, 6), (4, 1, 6)),
    ((4, 5, 6), (5, 1)),
    ((5000,), (1,)),
    ((1,), (5000,)),
    ((3, 4, 5), ()),
    ((0, 3), (1,)),
    ((1, 0), (4, 1)),
    ((2, 1, 3, 1, 2), (1, 4, 1, 5, 1)),
    ((6, 1), (6, 300)),
    ((40, 200), (200,)),
    ((2, 1, 7), (2, 3, 7)),
    ((700, 3), (1, 1)),
]
each_shape = pytest.mark.parametrize("shapes", SHAPES, ids=lambda s: str(s).replace(" ", ""))


@each_isa
@each_shape
@pytest.mark.parametrize("dtype", ["f32", "i8", "f64"])
def test_broadcasting(isa, shapes, dtype):
    a, b = sample(shapes[0], DTYPES[dtype], 1), sample(shapes[1], DTYPES[dtype], 2)
    with np.errstate(all="ignore"):
        want = np.asarray(a - b)
    np.testing.assert_array_equal(one(f"sub_{dtype}", [a, b], {}, want.shape, a.dtype, isa), want)


@each_isa
@each_shape
@pytest.mark.parametrize("checks", [False, True])
@pytest.mark.parametrize("code", [1, 4, 7])
def test_fused_activation_of_a_broadcast_sum(isa, shapes, checks, code):
    a, b = sample(shapes[0], np.float32, 1), sample(shapes[1], np.float32, 2)
    s = np.asarray(a + b, np.float32)
    want = {
        1: np.maximum(s, 0),
        4: 1 / (1 + np.exp(-s.astype(np.float64))),
        7: s * np.clip(s.astype(np.float64) / 6 + 0.5, 0, 1),
    }[code]
    (got,), seen = call("add_f32", [a, b], {"activation": (code,)}, [s.shape], np.float32, isa, checks=checks)
    # e^x in base 2 is off by up to |x| eps where there is no fused multiply-add (vecmath.h)
    close(got, want, (4 + np.abs(s)) * EPS * np.maximum(np.abs(want), np.abs(s) if code == 7 else EPS))
    assert (seen["flags"], seen["checked"]) == (0, s.size if checks else 0)


@each_isa
@pytest.mark.parametrize("code", [1, 4])
@pytest.mark.parametrize("index", [0, 63, 1023, 1024, 2999])
def test_a_fault_in_a_fused_activation_is_found(isa, code, index):
    a, b = sample((3, 1000), np.float32, 1), sample((1000,), np.float32, 2)
    _, seen = call(
        "add_f32", [a, b], {"activation": (code,)}, [(3, 1000)], np.float32, isa, checks=True, fault=(index, 1 << 27)
    )
    assert seen["flags"] and seen["first_index"] <= index < seen["first_index"] + 1024


@each_isa
@each_number
@pytest.mark.parametrize("op", COMPARE)
@pytest.mark.parametrize("n", [0, 1, 33, 300])
def test_comparison(isa, dtype, op, n):
    a, b = sample((n,), DTYPES[dtype], 1), sample((n,), DTYPES[dtype], 2)
    b[::3] = a[::3]
    np.testing.assert_array_equal(one(f"{op}_{dtype}", [a, b], {}, (n,), np.bool_, isa), COMPARE[op](a, b))


@each_isa
@pytest.mark.parametrize("op", COMPARE)
def test_comparison_with_nan_is_false(isa, op):
    a, b = np.array([np.nan, 1, np.nan, np.inf], np.float32), np.array([1, np.nan, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(one(f"{op}_f32", [a, b], {}, (4,), np.bool_, isa), COMPARE[op](a, b))


@each_isa
@pytest.mark.parametrize(
    ("name", "f"), [("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor), ("equal", np.equal)]
)
def test_logic(isa, name, f):
    a, b = sample((4, 33), np.bool_, 1), sample((33,), np.bool_, 2)
    np.testing.assert_array_equal(one(f"{name}_b8", [a, b], {}, (4, 33), np.bool_, isa), f(a, b))


@each_isa
def test_not(isa):
    a = sample((37,), np.bool_)
    np.testing.assert_array_equal(one("not_b8", [a], {}, (37,), np.bool_, isa), ~a)


@each_isa
def test_any_byte_but_zero_is_true_and_results_are_0_or_1(isa):
    a = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    got = one("and_b8", [a, np.ones(4, np.bool_)], {}, (4,), np.bool_, isa)
    np.testing.assert_array_equal(got.view(np.uint8), [0, 1, 1, 1])


@each_isa
@pytest.mark.parametrize("op", ["min", "max"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_min_and_max_keep_nan(isa, op, dtype):
    a = np.tile(np.array([np.nan, 1, np.nan, 2, np.inf], DTYPES[dtype]), 7)
    b = np.tile(np.array([0, np.nan, np.nan, -np.inf, 1], DTYPES[dtype]), 7)
    np.testing.assert_array_equal(one(f"{op}_{dtype}", [a, b], {}, a.shape, a.dtype, isa), BINARY[op](a, b))


@each_isa
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "shapes",
    [
        ((70,),) * 3,
        ((), (70,), (70,)),
        ((70,), (), (70,)),
        ((70,), (70,), ()),
        ((3, 1), (1, 5), (3, 5)),
        ((4, 9, 3), (3,), ()),
        ((0,), (1,), (1,)),
    ],
    ids=lambda s: str(s).replace(" ", ""),
)
def test_where(isa, size, shapes):
    c, a, b = sample(shapes[0], np.bool_), sample(shapes[1], SIZES[size], 1), sample(shapes[2], SIZES[size], 2)
    want = np.where(c, a, b)
    np.testing.assert_array_equal(one(f"where_{size}", [c, a, b], {}, want.shape, a.dtype, isa), want)


@each_isa
@each_number
@pytest.mark.parametrize(("op", "f"), [("neg", np.negative), ("abs", np.abs)])
def test_neg_and_abs(isa, dtype, op, f):
    x = sample((77,), DTYPES[dtype])
    if x.dtype.kind == "i":
        x[0] = np.iinfo(x.dtype).min
    np.testing.assert_array_equal(one(f"{op}_{dtype}", [x], {}, x.shape, x.dtype, isa), f(x))


def ulp_of(want):
    return np.maximum(np.spacing(np.abs(want).astype(np.float32)).astype(np.float64), 1.5e-45)


FUNCTIONS = {
    "exp": (np.exp, lambda rng: rng.uniform(-100, 88, 5000)),
    "log": (np.log, lambda rng: np.exp(rng.uniform(-80, 80, 5000))),
    "sqrt": (np.sqrt, lambda rng: np.exp(rng.uniform(-80, 80, 5000))),
    "erf": (verf, lambda rng: rng.uniform(-5, 5, 5000)),
    "reciprocal": (lambda x: 1 / x, lambda rng: rng.standard_normal(5000)),
    "floor": (np.floor, lambda rng: rng.uniform(-1e9, 1e9, 5000)),
    "ceil": (np.ceil, lambda rng: rng.uniform(-99, 99, 5000)),
}


@each_isa
@pytest.mark.parametrize("op", FUNCTIONS)
def test_function_is_within_a_few_ulp(isa, op):
    f, values = FUNCTIONS[op]
    x = values(np.random.default_rng(0)).astype(np.float32)
    want = f(x.astype(np.float64))
    ulps = 3 if isa == "sse2" else 2  # no fused multiply-add there
    close(one(f"{op}_f32", [x], {}, x.shape, np.float32, isa), want, 1.01 * ulps * ulp_of(want), op)


@each_isa
@each_length
@pytest.mark.parametrize("op", FUNCTIONS)
def test_function_of_any_length(isa, op, n):
    f, values = FUNCTIONS[op]
    x = values(np.random.default_rng(0))[:n].astype(np.float32)
    want = f(x.astype(np.float64))
    ulps = 3 if isa == "sse2" else 2  # no fused multiply-add there
    close(one(f"{op}_f32", [x], {}, x.shape, np.float32, isa), want, 1.01 * ulps * ulp_of(want), op)


@each_isa
@pytest.mark.parametrize("op", FUNCTIONS)
def test_function_of_special_values(isa, op):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 200.0, -200.0], np.float32)
    with np.errstate(all="ignore"):
        want = FUNCTIONS[op][0](x.astype(np.float64)).astype(np.float32)
    got = one(f"{op}_f32", [x], {}, x.shape, np.float32, isa)
    close(got, want, 2.01 * ulp_of(np.where(np.isfinite(want), want, 0)), op)


ACTIVATIONS = {
    "relu": ((), lambda x: np.where(x < 0, 0, x)),
    "clip": ((-1.5, 2.0), lambda x: np.clip(x, -1.5, 2.0)),
    "leaky_relu": ((0.125, 0.0), lambda x: np.where(x < 0, 0.125 * x, x)),
    "sigmoid": ((), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": ((), np.tanh),
    "hard_sigmoid": ((0.25, 0.5), lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
    "hard_swish": ((), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "silu": ((), lambda x: x / (1 + np.exp(-x))),
    "gelu": ((), lambda x: x * 0.5 * (1 + verf(x / math.sqrt(2)))),
    "elu": ((0.75, 0.0), lambda x: np.where(x < 0, 0.75 * np.expm1(np.minimum(x, 0)), x)),
}


def activation_attrs(op):
    return dict(zip(("act_alpha", "act_beta"), ((v,) for v in ACTIVATIONS[op][0]), strict=False))


@each_isa
@each_length
@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("checks", [False, True])
def test_activation(isa, op, n, checks):
    x = sample((n,), np.float32)
    want = ACTIVATIONS[op][1](x.astype(np.float64))
    (got,), seen = call(f"{op}_f32", [x], activation_attrs(op), [(n,)], np.float32, isa, checks=checks)
    close(
        got,
        want,
        (4 + np.abs(x)) * EPS * np.maximum(np.abs(want), np.abs(x) if op in ("gelu", "hard_swish") else 1e-30),
        op,
    )
    assert (seen["flags"], seen["checked"]) == (0, n if checks else 0)


@each_isa
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activation_keeps_nan_and_reports_it(isa, op):
    x = sample((70,), np.float32)
    x[[0, 37, 69]] = np.nan
    (got,), seen = call(f"{op}_f32", [x], activation_attrs(op), [x.shape], np.float32, isa, checks=True)
    assert np.isnan(got[[0, 37, 69]]).all() and np.isfinite(np.delete(got, [0, 37, 69])).all()
    assert seen["flags"] & 2


@each_isa
@pytest.mark.parametrize("op", sorted(set(ACTIVATIONS) - {"gelu"}))
@pytest.mark.parametrize("index", [0, 31, 64, 4095, 4096, 4999])
@pytest.mark.parametrize("bit", [22, 27, 30, 31])
def test_a_flipped_bit_is_found(isa, op, index, bit):
    x = np.abs(sample((5000,), np.float32)) % 1 * 0.5 + 0.25
    (got,), seen = call(
        f"{op}_f32", [x], activation_attrs(op), [x.shape], np.float32, isa, checks=True, fault=(index, 1 << bit)
    )
    clean = one(f"{op}_f32", [x], activation_attrs(op), x.shape, np.float32, isa)
    assert list(np.flatnonzero(got != clean)) == [index]
    assert seen["flags"] & 1 and seen["first_index"] <= index < seen["first_index"] + 4096


@each_isa
@pytest.mark.parametrize("op", ["relu", "tanh", "exp", "neg"])
def test_unary_in_place(isa, op):
    x = sample((1003,), np.float32)
    want = one(f"{op}_f32", [x], {}, x.shape, np.float32, isa)
    native.call(f"{op}_f32", [x], {}, [x], isa=isa)
    np.testing.assert_array_equal(x, want)


@each_isa
@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("activation", [0, 1, 4])
def test_binary_in_place(isa, operand, activation):
    pair = [sample((1003,), np.float32, 1), sample((1003,), np.float32, 2)]
    want = one("sub_f32", pair, {"activation": (activation,)}, (1003,), np.float32, isa)
    native.call("sub_f32", pair, {"activation": (activation,)}, [pair[operand]], isa=isa)
    np.testing.assert_array_equal(pair[operand], want)


@each_isa
def test_gelu_by_tanh(isa):
    x = sample((333,), np.float32)
    wide = x.astype(np.float64)
    want = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    close(one("gelu_f32", [x], {"tanh": (1,)}, x.shape, np.float32, isa), want, 8 * EPS * np.abs(wide))


@each_isa
@pytest.mark.parametrize("slope", [(), (1,), (3,), (2, 1, 1)], ids=str)
def test_prelu(isa, slope):
    x, s = sample((2, 5, 3), np.float32, 1), sample(slope, np.float32, 2)
    np.testing.assert_array_equal(one("prelu_f32", [x, s], {}, x.shape, np.float32, isa), np.where(x < 0, x * s, x))


@each_isa
@pytest.mark.parametrize("exponent", [2.0, 1.0, 0.5, 0.0, -1.0, 3.0, 2.5, -2.0])
def test_power_of_a_constant(isa, exponent):
    x = np.concatenate([sample((70,), np.float32), np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), np.full(x.shape, exponent))  # an array: NumPy takes sqrt for a scalar 0.5
        got = one("pow_f32", [x, np.float32(exponent)], {}, x.shape, np.float32, isa)
        finite = np.where(np.isfinite(want), want, 0)
    close(got, want, 2 * EPS * np.abs(finite))


@each_isa
def test_power_of_pairs_with_negative_bases(isa):
    a = np.array([-2, -2, -2, 2, -8, 0.25, 1, 0], np.float32)
    b = np.array([3, 2, 0.5, -2, -1, 0.5, np.nan, 0], np.float32)
    np.testing.assert_array_equal(
        one("pow_f32", [a, b], {}, a.shape, np.float32, isa),
        np.array([-8, 4, np.nan, 0.25, -0.125, 0.5, 1, 1], np.float32),
    )


@each_isa
@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_integer_power(isa, dtype):
    a = np.array([2, -3, 0, 0, 1, -1, -1, 2, 5, 7], DTYPES[dtype])
    b = np.array([10, 3, 0, -1, -5, -3, -2, -1, 1, 40], DTYPES[dtype])
    bits = 8 * a.itemsize
    wrapped = np.array([pow(7, 40) & (2**bits - 1)], np.uint64).astype(f"u{a.itemsize}").view(a.dtype)[0]
    np.testing.assert_array_equal(
        one(f"pow_{dtype}", [a, b], {}, a.shape, a.dtype, isa),
        np.array([1024, -27, 1, 0, 1, -1, 1, 0, 5, wrapped], a.dtype),
    )


REFUSED = [
    ("add_f32", [(3,), (4,)], [(4,)]),
    ("add_f32", [(3,), (1,)], [(4,)]),
    ("add_f32", [(3,)], [(3,)]),
    ("add_f32", [(1,), (1,)], [(3,)]),
    ("add_f32", [(2, 3), (3,)], [(3,)]),
    ("relu_f32", [(3,)], [(4,)]),
    ("relu_f32", [(3,)], [(3, 1)]),
    ("prelu_f32", [(3,), (2, 3)], [(2, 3)]),
    ("pow_f32", [(3,), (2,)], [(3,)]),
]


@pytest.mark.parametrize(("name", "inputs", "outputs"), REFUSED, ids=str)
def test_inconsistent_requests_are_refused(name, inputs, outputs):
    with pytest.raises(ValueError, match="query: bad_"):
        call(name, [np.zeros(s, np.float32) for s in inputs], {}, outputs, np.float32, ISAS[0])


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="bad_attribute"):
        native.call("add_f32", [np.zeros(3, np.float32)] * 2, {"activation": (12,)}, [np.zeros(3, np.float32)])
