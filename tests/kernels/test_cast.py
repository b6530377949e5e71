"""cast between all dtypes: C semantics made total (saturation, NaN to 0, wrap-around), halves rounded to even."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from kernel_case import DTYPES, each_isa, one, sample

from edgerun_kernels.registry import KERNELS


def nearest_brain(v):
    """The bfloat16 nearest to a number, the even one of two: its neighbours are compared exactly."""
    if not np.isfinite(float(v)):
        return float(v)
    bits = int(np.float32(min(max(float(v), -3.4e38), 3.4e38)).view(np.uint32)) >> 16
    near = [np.array(b & 0xffff, np.uint16).view(ml_dtypes.bfloat16) for b in (bits - 1, bits, bits + 1)]
    finite = [n for n in near if np.isfinite(n) and (np.signbit(n) == (v < 0) or v == 0)]
    # Beyond the largest one there is one more value on the grid, which is written as infinity.
    ends = {Fraction(float(n)): n for n in finite} | {Fraction(2) ** 128: np.inf, -(Fraction(2) ** 128): -np.inf}
    best = min(ends, key=lambda f: (abs(f - Fraction(v)), int(np.asarray(ends[f], ml_dtypes.bfloat16).view(np.uint16)) & 1))
    return float(ends[best])


def cast_oracle(x, dtype):
    dtype = np.dtype(dtype)
    if dtype == ml_dtypes.bfloat16:
        values = x.tolist() if x.dtype.kind in "iub" else x.astype(np.float64).tolist()
        return np.array([nearest_brain(v) for v in values], np.float64).astype(dtype)
    if x.dtype == ml_dtypes.bfloat16:
        return cast_oracle(x.astype(np.float32), dtype)
    with np.errstate(all="ignore"):
        if dtype.kind == "b" or x.dtype.kind != "f" or dtype.kind == "f":
            return x.astype(dtype)
        info = np.iinfo(dtype)
        values = [
            0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
            for v in x.astype(np.float64).tolist()
        ]
        return np.array(values, dtype)


CASTS = [(a, b) for a in DTYPES for b in DTYPES if a != b or a not in ("f16", "bf16")]


@each_isa
@pytest.mark.parametrize(("source", "target"), CASTS, ids=lambda v: v)
def test_cast(isa, source, target):
    x = sample((301,), DTYPES[source])
    if x.dtype.kind in "fV":
        x[:100] *= x.dtype.type(1000)
        extra = [
            np.nan,
            np.inf,
            -np.inf,
            0.0,
            -0.0,
            0.999,
            -0.999,
            127.5,
            -128.5,
            255.9,
            32767.5,
            6.0e-8,
            65504,
            3e-5,
            2.98e-8,
            2.99e-8,
        ]
        wide = [
            65519.9,
            65520,
            2147483647.0,
            -2147483648.0,
            4294967295.0,
            9.3e18,
            -9.3e18,
            1.9e19,
            1e30,
            -1e30,
            1 + 2**-11,
            1 + 2**-11 + 2**-40,
            1 + 2**-8,
            1 + 2**-8 + 2**-40,
            3.4e38,
        ]
        x = np.concatenate([x, np.array(extra + (wide if source != "f16" else []), x.dtype)])
    elif x.dtype.kind in "iu":
        x[:20] = np.arange(20, dtype=x.dtype)
        if x.itemsize > 2:
            x[20:24] = 2**24 + 2**16, 2**24 + 2**16 + 1, 2**25 + 2**17, 2**25 + 2**17 - 1  # between two bfloat16 values, and just off
    want = cast_oracle(x, DTYPES[target])
    got = one(f"cast_{source}_{target}", [x], {}, x.shape, DTYPES[target], isa)
    if target == "bf16":  # NumPy does not know its NaN
        want, got = want.astype(np.float32), got.astype(np.float32)
    np.testing.assert_array_equal(got, want)
    python = np.empty(x.shape, DTYPES[target])
    KERNELS[f"cast_{source}_{target}"]([x], {}, [python], None)
    np.testing.assert_array_equal(python.astype(want.dtype), want)


@each_isa
def test_every_half_survives_the_way_through_float(isa):
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = one("cast_f16_f32", [x], {}, x.shape, np.float32, isa)
    np.testing.assert_array_equal(wide, x.astype(np.float32))
    back = one("cast_f32_f16", [wide], {}, x.shape, np.float16, isa)
    np.testing.assert_array_equal(back, x)
