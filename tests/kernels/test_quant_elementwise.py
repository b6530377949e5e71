"""quantize, dequantize, lut, qadd and qmul: C++ bit for bit the Python definition, and that against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from kernel_case import DTYPES, ISAS, LENGTHS, call, each_isa, native, one, sample
from test_elementwise import each_shape

from edgerun.ops.fixed_point import fixed_point
from edgerun_kernels.checks import NON_FINITE, Sink
from edgerun_kernels.registry import KERNELS

BYTES = ("i8", "u8")
each_length = pytest.mark.parametrize("n", [*LENGTHS, 127, 129, 300])
each_byte = pytest.mark.parametrize("dtype", BYTES)


def twin(name, inputs, attrs, shape, dtype, sink=None):
    """The output of the Python kernel."""
    y = np.full(shape, 77, dtype)
    KERNELS[name](inputs, attrs, [y], sink)
    return y


def same(name, inputs, attrs, shape, dtype, isa, **options):
    """The output, which both implementations agree on."""
    want = twin(name, inputs, attrs, shape, dtype)
    np.testing.assert_array_equal(one(name, inputs, attrs, shape, dtype, isa, **options), want)
    return want


QUANTIZED = ("i8", "u8", "i16", "u16")
ZEROS = {"i8": (0, -128, 127, 3), "u8": (0, 255, 128), "i16": (0, -32768, 32767), "u16": (0, 65535, 40000)}
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, 127.5, -128.5, 255.5, 65535.5, -32768.5],
    np.float32,
)


def hard_values(n, scale):
    """Multiples of half the scale with their neighbours (ties and what is next to them), out-of-range and special values."""
    rng = np.random.default_rng(n)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        ties = (rng.integers(-600, 600, n).astype(np.float32) / 2) * np.float32(scale)
        x = np.where(rng.random(n) < 0.5, ties, np.nextafter(ties, np.where(rng.random(n) < 0.5, np.inf, -np.inf)))
        wide = rng.standard_normal(n) * 40000 * scale
        x = np.where(rng.random(n) < 0.3, wide, x).astype(np.float32)
    x[: SPECIAL.size] = SPECIAL[:n]
    return x


@each_isa
@each_length
@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("scale", [1.0, 0.1, 3e-39, 1e-45, 1e38, 1 / 127])
def test_quantize(isa, n, dtype, scale):
    zero = ZEROS[dtype][n % len(ZEROS[dtype])]
    attrs = {"scale": (float(scale),), "zero": (zero,)}
    same("quantize_f32", [hard_values(n, scale)], attrs, (n,), DTYPES[dtype], isa)


def exactly_quantized(x, scale, zero, info):
    if np.isnan(x):
        return zero
    # Rounded twice is rounded once here: 53 >= 2 · 24 + 2
    quotient = np.float32(np.clip(np.float64(x) / np.float64(scale), -1e6, 1e6))
    return min(max(round(Fraction(float(quotient))) + zero, info.min), info.max)


@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("scale", [0.1, 0.0235, 7.0])
def test_the_definition_of_quantize(dtype, scale):
    zero, info, scale = ZEROS[dtype][-1], np.iinfo(DTYPES[dtype]), np.float32(scale)
    x = hard_values(2000, scale)
    got = twin("quantize_f32", [x], {"scale": (float(scale),), "zero": (zero,)}, x.shape, DTYPES[dtype])
    np.testing.assert_array_equal(got, [exactly_quantized(v, scale, zero, info) for v in x])


@each_isa
@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 9000])
def test_quantize_counts_and_finds_nothing_in_finite_values(isa, n):
    attrs = {"scale": (0.1,), "zero": (0,)}
    _, seen = call("quantize_f32", [sample((n,), np.float32)], attrs, [(n,)], np.int8, isa, checks=True)
    assert (seen["checked"], seen["flags"]) == (n, 0)


@each_isa
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1023, 1024, 1500, 8999])
def test_quantize_reports_what_is_not_finite(isa, value, at):
    x, attrs = sample((9000,), np.float32), {"scale": (0.1,), "zero": (5,)}
    x[at] = value
    sink = Sink()
    want = twin("quantize_f32", [x], attrs, x.shape, np.int8, sink)
    (got,), seen = call("quantize_f32", [x], attrs, [x.shape], np.int8, isa, checks=True)
    np.testing.assert_array_equal(got, want)
    assert (sink.checked, sink.flags, sink.first_index) == (9000, NON_FINITE, at)
    assert (seen["checked"], seen["flags"]) == (9000, NON_FINITE)
    assert seen["first_index"] <= at < seen["first_index"] + 1024


@each_isa
@pytest.mark.parametrize("at", [0, 1023, 2047, 2999])
@pytest.mark.parametrize("dtype", ["i8", "u16"])
def test_a_fault_strikes_what_is_quantized(isa, at, dtype):
    x, attrs, mask = np.full(3000, 1.5, np.float32), {"scale": (0.5,), "zero": (1,)}, 0x7F800000
    sink = Sink(fault=(at, mask))
    want = twin("quantize_f32", [x], attrs, x.shape, DTYPES[dtype], sink)
    (got,), seen = call("quantize_f32", [x], attrs, [x.shape], DTYPES[dtype], isa, checks=True, fault=(at, mask))
    np.testing.assert_array_equal(got, want)
    assert sink.injected and got[at] != got[at - 1]
    assert seen["flags"] == sink.flags


@each_isa
@each_length
@pytest.mark.parametrize("dtype", ["i8", "u8", "i16", "u16", "i32"])
@pytest.mark.parametrize("extreme", [0, 1, -1])
def test_dequantize(isa, n, dtype, extreme):
    info = np.iinfo(DTYPES[dtype])
    x = sample((n,), DTYPES[dtype], n)
    x[: min(n, 2)] = [info.min, info.max][:n]
    zero = {0: 0, 1: info.max, -1: info.min}[extreme]
    want = same(f"dequantize_{dtype}", [x], {"scale": (0.1,), "zero": (zero,)}, (n,), np.float32, isa)
    exact = (x.astype(object) - int(zero)) * float(np.float32(0.1))
    np.testing.assert_allclose(want, exact.astype(np.float64), rtol=2**-22)


@each_isa
@each_length
@pytest.mark.parametrize("source", ["i8", "u8", "b8"])
def test_lut(isa, n, source):
    x, table = sample((n,), DTYPES[source], 1), sample((256,), np.int8, 2)
    got = one("lut_x8", [x, table], {}, (n,), np.int8, isa, constants=[1])
    np.testing.assert_array_equal(got, table[x.view(np.uint8)])
    np.testing.assert_array_equal(twin("lut_x8", [x, table], {}, (n,), np.int8), got)


@each_isa
@each_length
@pytest.mark.parametrize("source", ["i8", "u8", "b8"])
@pytest.mark.parametrize("target", [np.float32, np.int32])
def test_lut_of_four_bytes(isa, n, source, target):
    """Bits are moved: a NaN keeps its payload."""
    x, table = sample((n,), DTYPES[source], 1), sample((256,), np.uint32, 2).view(target)
    table[:2] = np.array([0x7F800001, 0xFFC12345], np.uint32).view(target)
    got = one("lut_x32", [x, table], {}, (n,), target, isa, constants=[1])
    np.testing.assert_array_equal(got.view(np.uint32), table.view(np.uint32)[x.view(np.uint8)])
    np.testing.assert_array_equal(twin("lut_x32", [x, table], {}, (n,), target).view(np.uint32), got.view(np.uint32))


@each_isa
def test_lut_finds_every_entry(isa):
    x, table = np.tile(np.arange(256, dtype=np.uint8), 9), np.random.default_rng(0).permutation(256).astype(np.uint8)
    np.testing.assert_array_equal(one("lut_x8", [x, table], {}, x.shape, np.uint8, isa), np.tile(table, 9))


ADD = {  # a_zero and b_zero in the range of i8 and of u8 alike
    "halves": {"a_mult": 1 << 13, "b_mult": 1 << 13, "shift": 14, "a_zero": 3, "b_zero": 100},
    "words": {"a_mult": 32767, "b_mult": -32768, "shift": 15, "a_zero": 0, "b_zero": 127},
    "large": {"a_mult": (1 << 22) + 12345, "b_mult": -(1 << 21) - 321, "shift": 23, "a_zero": 1, "b_zero": 77},
    "one large": {"a_mult": 1, "b_mult": 5_000_000, "shift": 20, "a_zero": 127, "b_zero": 127},
    "least shift": {"a_mult": 1, "b_mult": 1, "shift": 1, "a_zero": 0, "b_zero": 0},
    "beyond int16": {"a_mult": 1 << 19, "b_mult": 1 << 19, "shift": 2, "a_zero": 64, "b_zero": 64},
    "largest shift": {"a_mult": 1 << 21, "b_mult": 1 << 21, "shift": 30, "a_zero": 50, "b_zero": 60},
    "zero": {"a_mult": 0, "b_mult": 0, "shift": 5, "a_zero": 0, "b_zero": 0},
}


def attributes(values, dtype, bounds):
    """As tuples, with y_zero and bounds of the output's dtype."""
    low = np.iinfo(DTYPES[dtype]).min
    extra = {"y_zero": low + 120, **({"low": low + 100, "high": low + 190} if bounds else {})}
    return {k: (v,) for k, v in {**values, **extra}.items()}


def byte_pair(a, b, shapes):
    return sample(shapes[0], DTYPES[a], 1), sample(shapes[1], DTYPES[b], 2)


each_combination = pytest.mark.parametrize("dtypes", [(a, b, y) for a in BYTES for b in BYTES for y in BYTES], ids="-".join)


@each_isa
@each_combination
@pytest.mark.parametrize("case", ADD)
@pytest.mark.parametrize("bounds", [False, True])
def test_qadd(isa, dtypes, case, bounds):
    x, (a, _, y) = byte_pair(*dtypes[:2], ((4099,), (4099,))), dtypes
    same(f"qadd_{a}", list(x), attributes(ADD[case], y, bounds), (4099,), DTYPES[y], isa)


def tables(terms, largest):
    """int32 [terms, 256] of which no sum leaves ±largest, with the extremes in it."""
    each = largest // terms
    found = np.random.default_rng(terms).integers(-each, each, (terms, 256), np.int32, endpoint=True)
    found[:, 0], found[:, 255] = -each, each
    return found


def sums(terms, largest, n, source="i8"):
    """The inputs of lut_add_x8; the first and last elements have extreme sums."""
    x = [sample((n,), DTYPES[source], k) for k in range(terms)]
    for operand in x:
        operand.view(np.uint8)[:1], operand.view(np.uint8)[n - 1 :] = 0, 255
    return [*x, tables(terms, largest)]


@each_isa
@each_length
@pytest.mark.parametrize("source", BYTES)
@each_byte
def test_sums_of_tables(isa, n, source, dtype):
    same("lut_add_x8", sums(2, 1 << 28, n, source), attributes({"shift": 20}, dtype, n % 2), (n,), DTYPES[dtype], isa, constants=[2])


@each_isa
@pytest.mark.parametrize("terms", [2, 3, 5, 8])
@pytest.mark.parametrize(("shift", "largest"), [(20, 1 << 28), (20, 2**31 - 1 - 2**19), (1, 300), (1, 2**31 - 2), (30, 2**30), (12, 0)])
@pytest.mark.parametrize("bounds", [False, True])
def test_many_terms(isa, terms, shift, largest, bounds):
    inputs, attrs = sums(terms, largest, 4099), attributes({"shift": shift}, "u8", bounds)
    got = same("lut_add_x8", inputs, attrs, (4099,), np.uint8, isa, constants=[terms])
    exact = sum(t[x.view(np.uint8)].astype(object) for t, x in zip(inputs[-1], inputs[:-1], strict=True))
    steps = np.array([(int(v) + (1 << shift >> 1)) // (1 << shift) for v in exact]) + attrs["y_zero"][0]
    np.testing.assert_array_equal(got, np.clip(steps, attrs.get("low", (0,))[0], attrs.get("high", (255,))[0]))


@each_isa
def test_sums_of_tables_wrap(isa):
    inputs = [*sums(3, 0, 600)[:3], np.random.default_rng(0).integers(-(2**31), 2**31, (3, 256)).astype(np.int32)]
    same("lut_add_x8", inputs, attributes({"shift": 24}, "i8", False), (600,), np.int8, isa)


MULTIPLY = {
    "small": {"m": 0.004, "a_zero": 3, "b_zero": 100},
    "half": {"m": 0.4999999, "a_zero": 0, "b_zero": 0},
    "shifted": {"m": 3.7, "a_zero": 127, "b_zero": 1},
    "saturating": {"m": 1e8, "a_zero": 5, "b_zero": 6},
    "tiny": {"m": 1e-12, "a_zero": 5, "b_zero": 6},
    "zero": {"m": 0.0, "a_zero": 5, "b_zero": 6},
}


def factors(values):
    m, left = fixed_point([values["m"]])[:, 0]
    return {**values, "m": int(m), "left": int(left)}


@each_isa
@each_combination
@pytest.mark.parametrize("case", MULTIPLY)
@pytest.mark.parametrize("bounds", [False, True])
def test_qmul(isa, dtypes, case, bounds):
    x, (a, _, y) = byte_pair(*dtypes[:2], ((4099,), (4099,))), dtypes
    attrs = attributes(factors(MULTIPLY[case]), y, bounds)
    got = same(f"qmul_{a}", list(x), attrs, (4099,), DTYPES[y], isa)
    exact = (x[0].astype(float) - attrs["a_zero"]) * (x[1].astype(float) - attrs["b_zero"]) * MULTIPLY[case]["m"]
    info = np.iinfo(DTYPES[y])
    low, high = attrs.get("low", (info.min,)), attrs.get("high", (info.max,))
    assert np.abs(np.clip(exact + attrs["y_zero"], low, high) - got).max() <= 0.5 + 1e-4


@each_isa
@each_length
@each_byte
@pytest.mark.parametrize("op", ["qadd", "qmul"])
def test_lengths(isa, n, dtype, op):
    values = ADD["large"] if op == "qadd" else factors(MULTIPLY["small"])
    same(f"{op}_{dtype}", list(byte_pair(dtype, "u8", ((n,), (n,)))), attributes(values, dtype, False), (n,), DTYPES[dtype], isa)


@each_isa
@each_shape
@pytest.mark.parametrize("op", ["qadd", "qmul"])
def test_broadcasting_bytes(isa, shapes, op):
    values = ADD["halves"] if op == "qadd" else factors(MULTIPLY["small"])
    shape = np.broadcast_shapes(*shapes)
    same(f"{op}_i8", list(byte_pair("i8", "u8", shapes)), attributes(values, "i8", True), shape, np.int8, isa)


@each_isa
@pytest.mark.parametrize("n", [1, 31, 64, 1000, 5001])
@pytest.mark.parametrize("op", ["qadd_u8", "qmul_u8", "lut_x8"])
def test_in_place(isa, op, n):
    x, other = sample((n,), np.uint8, 1), sample((256 if op == "lut_x8" else n,), np.uint8, 2)
    attrs = attributes({**ADD["halves"], **factors(MULTIPLY["small"])}, "u8", False)
    want = twin(op, [x, other], attrs, x.shape, np.uint8)
    native.call(op, [x, other], attrs, [x], isa=isa)
    np.testing.assert_array_equal(x, want)


OK_ADD = attributes(ADD["halves"], "i8", False)
OK_MUL = attributes(factors(MULTIPLY["small"]), "i8", False)
Q = {"scale": (0.1,), "zero": (0,)}
F4, I4, U4, T = np.zeros(4, np.float32), np.zeros(4, np.int8), np.zeros(4, np.uint8), np.zeros(256, np.int8)
T2 = np.zeros((2, 256), np.int32)


@pytest.mark.parametrize(
    ("name", "inputs", "attrs", "shape", "dtype", "reason"),
    [
        ("quantize_f32", [F4], {**Q, "scale": (0.0,)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {**Q, "scale": (-1.0,)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {**Q, "scale": (float("nan"),)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {**Q, "scale": (float("inf"),)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {"zero": (0,)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {**Q, "zero": (128,)}, (4,), np.int8, "bad_attribute"),
        ("quantize_f32", [F4], {**Q, "zero": (-1,)}, (4,), np.uint16, "bad_attribute"),
        ("quantize_f32", [F4], Q, (4,), np.int32, "bad_dtype"),
        ("quantize_f32", [F4], Q, (5,), np.int8, "bad_shape"),
        ("quantize_f32", [F4, F4], Q, (4,), np.int8, "bad_arity"),
        ("quantize_f32", [I4], Q, (4,), np.int8, "bad_dtype"),
        ("dequantize_i8", [I4], {**Q, "zero": (200,)}, (4,), np.float32, "bad_attribute"),
        ("dequantize_i8", [I4], {**Q, "scale": (float("inf"),)}, (4,), np.float32, "bad_attribute"),
        ("dequantize_u8", [I4], Q, (4,), np.float32, "bad_dtype"),
        ("dequantize_i8", [I4], Q, (4,), np.float64, "bad_dtype"),
        ("dequantize_i8", [I4], Q, (2, 2), np.float32, "bad_shape"),
        ("lut_x8", [I4, T[:255]], {}, (4,), np.int8, "bad_shape"),
        ("lut_x8", [I4, T.reshape(16, 16)], {}, (4,), np.int8, "bad_rank"),
        ("lut_x8", [F4, T], {}, (4,), np.int8, "bad_dtype"),
        ("lut_x8", [I4, T], {}, (3,), np.int8, "bad_shape"),
        ("lut_x8", [I4], {}, (4,), np.int8, "bad_arity"),
        ("lut_x32", [I4, T], {}, (4,), np.float32, "bad_dtype"),
        ("lut_x32", [F4, T.astype(np.float32)], {}, (4,), np.float32, "bad_dtype"),
        ("lut_x32", [I4, T.astype(np.float32)], {}, (4,), np.int8, "bad_dtype"),
        ("lut_x32", [I4, T[:255].astype(np.float32)], {}, (4,), np.float32, "bad_shape"),
        ("lut_x32", [I4, T.astype(np.float32)], {}, (5,), np.float32, "bad_shape"),
        ("lut_add_x8", [I4, U4, T2], {}, (4,), np.int8, "bad_attribute"),
        ("lut_add_x8", [I4, U4, T2], {"shift": (0,)}, (4,), np.int8, "bad_attribute"),
        ("lut_add_x8", [I4, U4, T2], {"shift": (31,)}, (4,), np.int8, "bad_attribute"),
        ("lut_add_x8", [I4, U4, T2], {"shift": (9,), "low": (5,), "high": (4,)}, (4,), np.int8, "bad_attribute"),
        ("lut_add_x8", [I4, U4, T2], {"shift": (9,), "y_zero": (-1,)}, (4,), np.uint8, "bad_attribute"),
        ("lut_add_x8", [I4, U4, T2[:, :255]], {"shift": (9,)}, (4,), np.int8, "bad_shape"),
        ("lut_add_x8", [I4, U4, I4, T2], {"shift": (9,)}, (4,), np.int8, "bad_shape"),
        ("lut_add_x8", [I4, U4[:3], T2], {"shift": (9,)}, (4,), np.int8, "bad_shape"),
        ("lut_add_x8", [I4, U4, T2.reshape(512)], {"shift": (9,)}, (4,), np.int8, "bad_rank"),
        ("lut_add_x8", [I4, F4, T2], {"shift": (9,)}, (4,), np.int8, "bad_dtype"),
        ("lut_add_x8", [I4, U4, T2.astype(np.int64)], {"shift": (9,)}, (4,), np.int8, "bad_dtype"),
        ("lut_add_x8", [I4, U4, T2], {"shift": (9,)}, (4,), np.float32, "bad_dtype"),
        ("lut_add_x8", [I4, T2[:1]], {"shift": (9,)}, (4,), np.int8, "bad_arity"),
        ("lut_add_x8", [*[I4] * 9, np.zeros((9, 256), np.int32)], {"shift": (9,)}, (4,), np.int8, "bad_arity"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "shift": (0,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "shift": (31,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "a_mult": (1 << 30,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "a_mult": (1 << 23,), "b_mult": (1 << 23,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "a_zero": (128,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "y_zero": (-129,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "low": (5,), "high": (4,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {**OK_ADD, "high": (128,)}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [I4, I4], {k: v for k, v in OK_ADD.items() if k != "b_mult"}, (4,), np.int8, "bad_attribute"),
        ("qadd_i8", [U4, I4], OK_ADD, (4,), np.int8, "bad_dtype"),
        ("qadd_i8", [I4, F4], OK_ADD, (4,), np.int8, "bad_dtype"),
        ("qadd_i8", [I4, I4], OK_ADD, (4,), np.int16, "bad_dtype"),
        ("qadd_i8", [I4, I4[:3]], OK_ADD, (4,), np.int8, "bad_shape"),
        ("qadd_i8", [I4, I4], OK_ADD, (1, 4), np.int8, "bad_rank"),
        ("qadd_i8", [I4, None], OK_ADD, (4,), np.int8, "bad_arity"),
        ("qmul_i8", [I4, I4], {**OK_MUL, "m": (1 << 30,)}, (4,), np.int8, "bad_attribute"),
        ("qmul_i8", [I4, I4], {**OK_MUL, "m": (-1,)}, (4,), np.int8, "bad_attribute"),
        ("qmul_i8", [I4, I4], {**OK_MUL, "left": (31,)}, (4,), np.int8, "bad_attribute"),
        ("qmul_i8", [I4, I4], {k: v for k, v in OK_MUL.items() if k != "m"}, (4,), np.int8, "bad_attribute"),
        ("qmul_u8", [I4, I4], OK_MUL, (4,), np.int8, "bad_dtype"),
        ("qmul_i8", [I4], OK_MUL, (4,), np.int8, "bad_arity"),
    ],
)
def test_inconsistent_requests_are_refused(name, inputs, attrs, shape, dtype, reason):
    with pytest.raises(ValueError, match=f"query: {reason}"):
        call(name, inputs, attrs, [shape], dtype, ISAS[0])
