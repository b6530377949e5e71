"""Trigonometry, bitwise operators, shifts and remainders, running sums, top-k: C++ against NumPy, and the Python kernels too."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import DTYPES, ISAS, LENGTHS, NUMBERS, close, each_isa, native, one, sample

from edgerun_kernels.registry import KERNELS

INTEGERS = [t for t in NUMBERS if t[0] in "iu"]
FUNCTIONS = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
    "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}
DOMAIN = {"asin": (-1, 1), "acos": (-1, 1), "atanh": (-0.99, 0.99), "acosh": (1, 50)}


def by_python(name, inputs, attrs, shapes, dtypes):
    outputs = [np.zeros(s, t) for s, t in zip(shapes, dtypes, strict=True)]
    KERNELS[name](inputs, attrs, outputs, None)
    return outputs


def ulp_of(want):
    return np.maximum(np.spacing(np.abs(want).astype(np.float32)).astype(np.float64), 1.5e-45)


@each_isa
@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("n", LENGTHS)
def test_trigonometry(isa, op, n):
    x = np.random.default_rng(0).uniform(*DOMAIN.get(op, (-10, 10)), n).astype(np.float32)
    want = FUNCTIONS[op](x.astype(np.float64))
    close(one(f"{op}_f32", [x], {}, (n,), np.float32, isa), want, 4 * ulp_of(want), op)
    close(by_python(f"{op}_f32", [x], {}, [(n,)], [np.float32])[0], want, ulp_of(want), op)


@each_isa
@pytest.mark.parametrize("op", FUNCTIONS)
def test_trigonometry_of_special_values(isa, op):
    x = np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.0], np.float32)
    with np.errstate(all="ignore"):
        want = FUNCTIONS[op](x.astype(np.float64))
    close(one(f"{op}_f32", [x], {}, x.shape, np.float32, isa), want, 4 * ulp_of(np.nan_to_num(want, posinf=0, neginf=0)), op)


@each_isa
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("n", [0, 1, 33, 4099])
@pytest.mark.parametrize("op", ["bitwise_and", "bitwise_or", "bitwise_xor", "mod", "fmod"])
def test_integers(isa, dtype, n, op):
    a, b = sample((n,), DTYPES[dtype], 1), sample((n,), DTYPES[dtype], 2)
    if n > 4:
        b[0], b[1], a[2], b[2] = 0, 3, np.iinfo(a.dtype).min, np.array(-1).astype(a.dtype)
    with np.errstate(all="ignore"):
        want = getattr(np, op)(a, b)
    if n > 4 and op in ("mod", "fmod"):
        want[0] = 0
        want[2] = 0 if a.dtype.kind == "i" else want[2]
    np.testing.assert_array_equal(one(f"{op}_{dtype}", [a, b], {}, (n,), a.dtype, isa), want)
    np.testing.assert_array_equal(by_python(f"{op}_{dtype}", [a, b], {}, [(n,)], [a.dtype])[0], want)


@each_isa
@pytest.mark.parametrize("dtype", INTEGERS)
def test_bitwise_not(isa, dtype):
    a = sample((77,), DTYPES[dtype])
    np.testing.assert_array_equal(one(f"bitwise_not_{dtype}", [a], {}, a.shape, a.dtype, isa), ~a)


@each_isa
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("way", ["left", "right"])
def test_shifts_up_to_and_beyond_the_width(isa, dtype, way):
    a = sample((70,), DTYPES[dtype])
    bits = 8 * a.itemsize
    b = (np.arange(70) % (bits + 3)).astype(a.dtype)
    if a.dtype.kind == "i":
        b[::9] = -1 - np.arange(len(b[::9]))
    mask = (1 << bits) - 1
    far = [-1 if x < 0 and way == "right" else 0 for x in a]
    want = [(int(x) << int(s) if way == "left" else int(x) >> int(s)) if 0 <= s < bits else f for x, s, f in zip(a, b, far, strict=True)]
    want = np.array([w & mask for w in want], np.uint64).astype(f"u{a.itemsize}").view(a.dtype)
    name = f"shift_{way}_{dtype}"
    np.testing.assert_array_equal(one(name, [a, b], {}, a.shape, a.dtype, isa), want)
    np.testing.assert_array_equal(by_python(name, [a, b], {}, [a.shape], [a.dtype])[0], want)


@each_isa
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_fmod_of_floats(isa, dtype):
    a, b = sample((99,), DTYPES[dtype], 1), sample((99,), DTYPES[dtype], 2)
    a[:3], b[2:5] = [np.nan, np.inf, 1], [0, np.nan, np.inf]
    with np.errstate(all="ignore"):
        want = np.fmod(a, b)
    np.testing.assert_array_equal(one(f"fmod_{dtype}", [a, b], {}, a.shape, a.dtype, isa), want)


@pytest.mark.parametrize("isa", [*ISAS, "python"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_mod_of_floats_has_the_sign_of_the_divisor(isa, dtype):
    a, b = sample((99,), DTYPES[dtype], 1), sample((99,), DTYPES[dtype], 2)
    a[:8], b[:8] = [np.nan, np.inf, 1, 0, -6, 6, -1, 1], [1, 2, 0, -3, 3, -3, np.inf, -np.inf]
    with np.errstate(all="ignore"):
        want = np.mod(a, b)
    got = by_python(f"mod_{dtype}", [a, b], {}, [a.shape], [a.dtype])[0] if isa == "python" else one(f"mod_{dtype}", [a, b], {}, a.shape,
                                                                                                     a.dtype, isa)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[:99][~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))


@each_isa
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((1,), 0), ((3, 4, 5), 1), ((3, 4, 5), -1), ((4, 0), 0), ((0, 4), 0)])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums(isa, dtype, shape, axis, exclusive, reverse):
    x = sample(shape, DTYPES[dtype])
    want = np.zeros(shape, np.float64 if x.dtype.kind == "f" else x.dtype)
    lines, sums = np.moveaxis(x, axis, 0), np.moveaxis(want, axis, 0)
    order = list(range(len(lines)))[:: -1 if reverse else 1]
    total = np.zeros(lines.shape[1:], want.dtype)
    for k in order:
        if exclusive:
            sums[k] = total
        with np.errstate(over="ignore"):
            total = total + lines[k]
        if not exclusive:
            sums[k] = total
    attrs = {"axis": (axis,), "exclusive": (exclusive,), "reverse": (reverse,)}
    for got in (one(f"cum_sum_{dtype}", [x], attrs, shape, x.dtype, isa), by_python(f"cum_sum_{dtype}", [x], attrs, [shape], [x.dtype])[0]):
        np.testing.assert_array_equal(got, want.astype(x.dtype))


def ranked(line, k, largest):
    """Positions by value, a NaN above all numbers, of equals the lower one first."""
    key = [(np.isnan(v), 0 if np.isnan(v) else v) for v in line.tolist()]
    return sorted(range(len(key)), key=lambda i: key[i], reverse=bool(largest))[:k]  # stable in either direction


@pytest.mark.parametrize("isa", [*ISAS, "python"])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("shape", "axis", "k"), [((7,), 0, 3), ((7,), 0, 7), ((1,), 0, 1), ((4, 9, 3), 1, 5), ((3, 40), -1, 1),
                                                 ((3, 5), 0, 0), ((2, 33), 1, 32), ((0, 5), 1, 2)])
def test_top_k(isa, dtype, largest, shape, axis, k):
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(DTYPES[dtype])  # many equals
    if x.dtype.kind == "f" and x.size > 6:
        x.reshape(-1)[[1, 4]] = np.nan
    out = list(shape)
    out[axis] = k
    attrs, outputs = {"axis": (axis,), "largest": (largest,)}, [np.zeros(out, x.dtype), np.zeros(out, np.int64)]
    if isa == "python":
        KERNELS[f"top_k_{dtype}"]([x], attrs, outputs, None)
    else:
        native.call(f"top_k_{dtype}", [x], attrs, outputs, isa=isa)
    want = np.apply_along_axis(ranked, axis, x, k, largest).astype(np.int64) if x.size and k else np.zeros(out, np.int64)
    np.testing.assert_array_equal(outputs[1], want)
    np.testing.assert_array_equal(outputs[0], np.take_along_axis(x, want, axis))


@each_isa
def test_more_than_there_is_is_refused(isa):
    with pytest.raises(ValueError, match="bad_shape"):
        native.call("top_k_f32", [np.zeros(3, np.float32)], {"axis": (0,)}, [np.zeros(4, np.float32), np.zeros(4, np.int64)], isa=isa)
