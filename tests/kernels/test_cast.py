"""cast between all dtypes: C semantics made total (saturation, NaN to 0, wrap-around), halves rounded to even."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import DTYPES, each_isa, one, sample


def cast_oracle(x, dtype):
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        if dtype.kind == "b" or x.dtype.kind != "f" or dtype.kind == "f":
            return x.astype(dtype)
        info = np.iinfo(dtype)
        values = [
            0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
            for v in x.astype(np.float64).tolist()
        ]
        return np.array(values, dtype)


CASTS = [(a, b) for a in DTYPES for b in DTYPES if (a, b) != ("f16", "f16")]


@each_isa
@pytest.mark.parametrize(("source", "target"), CASTS, ids=lambda v: v)
def test_cast(isa, source, target):
    x = sample((301,), DTYPES[source])
    if x.dtype.kind == "f":
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
        ]
        x = np.concatenate([x, np.array(extra + (wide if source != "f16" else []), x.dtype)])
    elif x.dtype.kind in "iu":
        x[:20] = np.arange(20, dtype=x.dtype)
    want = cast_oracle(x, DTYPES[target])
    got = one(f"cast_{source}_{target}", [x], {}, x.shape, DTYPES[target], isa)
    np.testing.assert_array_equal(got, want)


@each_isa
def test_every_half_survives_the_way_through_float(isa):
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = one("cast_f16_f32", [x], {}, x.shape, np.float32, isa)
    np.testing.assert_array_equal(wide, x.astype(np.float32))
    back = one("cast_f32_f16", [wide], {}, x.shape, np.float16, isa)
    np.testing.assert_array_equal(back, x)
