"""Calls one C++ kernel on guarded outputs: bytes around every output must survive, and inputs must not change."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

native = pytest.importorskip("edgerun_kernels._native", reason="the C++ kernels are not built (tools/dev/build)")

ISAS = native.isas()
LANES = 8
GUARD = 128
EPS = float(np.finfo(np.float32).eps)
LENGTHS = sorted({0, 1, *(k for lanes in (4, 8, 16) for k in (lanes - 1, lanes, lanes + 1, 2 * lanes + 1)), 65, 4097})
"""Row lengths around the vector widths of every instruction set, their unrolled loops and a block."""

DTYPES = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
    "b8": np.bool_,
}
NUMBERS = ("f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
SIZES = {"x8": np.int8, "x16": np.int16, "x32": np.int32, "x64": np.int64}

each_isa = pytest.mark.parametrize("isa", ISAS)


class Guarded:
    """An output array with GUARD patterned bytes on either side, itself filled with the pattern."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.raw = np.full(size + 2 * GUARD, 0xA5, np.uint8)
        self.array = self.raw[GUARD : GUARD + size].view(dtype).reshape(shape)

    def intact(self) -> bool:
        return bool((self.raw[:GUARD] == 0xA5).all() and (self.raw[len(self.raw) - GUARD :] == 0xA5).all())


def call(
    name: str, inputs: list[Any], attrs: dict[str, tuple[Any, ...]], shapes: Any, dtype: Any, isa: str, **options: Any
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The outputs (one for every shape) and what the checks saw."""
    outs = [Guarded(s, dtype) for s in shapes]
    arrays = [None if x is None else np.ascontiguousarray(x).reshape(np.shape(x)) for x in inputs]
    before = [None if x is None else x.tobytes() for x in arrays]
    seen = native.call(name, arrays, attrs, [o.array for o in outs], isa=isa, **options)
    assert all(o.intact() for o in outs), f"{name} ({isa}) wrote outside its output"
    assert before == [None if x is None else x.tobytes() for x in arrays], f"{name} ({isa}) changed an input"
    return [o.array for o in outs], seen


def one(
    name: str, inputs: list[Any], attrs: dict[str, tuple[Any, ...]], shape: Any, dtype: Any, isa: str, **options: Any
) -> np.ndarray:
    """The only output."""
    return call(name, inputs, attrs, [tuple(shape)], dtype, isa, **options)[0][0]


def sample(shape: Any, dtype: Any, seed: int = 0) -> np.ndarray:
    """Reproducible values; integers over their whole range, floats around 0."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "fV":
        return (rng.standard_normal(shape) * 3).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def close(got: np.ndarray, want: np.ndarray, bound: Any, context: str = "") -> None:
    """|got - want| <= bound (an array or a number), NaN and infinities in the same places."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=context)
    error = np.abs(np.where(finite, got, 0) - np.where(finite, want, 0))
    over = ~(error <= bound)
    assert not over.any(), f"{context}: error {error[over].max()} at {np.argwhere(over)[0]}"
