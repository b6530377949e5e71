"""The signature of a Python kernel, and readers for its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from edgerun_kernels.checks import Sink

Array = np.ndarray[Any, Any]
Inputs = list["Array | None"]
Attrs = Mapping[str, tuple[int, ...] | tuple[float, ...]]
Outputs = list[Array]
Kernel = Callable[[Inputs, Attrs, Outputs, "Sink | None"], None]

class BadIndex(Exception):
    """An index of an index tensor, at flat `position`, is not in [-extent, extent). Kernels raise it before they write."""

    def __init__(self, position: int, value: int, extent: int) -> None:
        super().__init__(f"index {value} at position {position} is not in [{-extent}, {extent})")
        self.position, self.value, self.extent = position, value, extent


DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i8": np.dtype(np.int8), "u8": np.dtype(np.uint8), "i16": np.dtype(np.int16), "u16": np.dtype(np.uint16),
    "i32": np.dtype(np.int32), "u32": np.dtype(np.uint32), "i64": np.dtype(np.int64), "u64": np.dtype(np.uint64),
    "b8": np.dtype(np.bool_),
}
NUMERIC = ("f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
ALL = (*NUMERIC, "b8")
SIZES = ("x8", "x16", "x32", "x64")


def ints(attrs: Attrs, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """A list attribute of integers."""
    return tuple(int(v) for v in attrs.get(name, default))


def integer(attrs: Attrs, name: str, default: int = 0) -> int:
    """A scalar integer attribute."""
    value = attrs.get(name)
    return int(value[0]) if value else default


def required(attrs: Attrs, name: str) -> int:
    """A scalar integer attribute that must be there."""
    return int(attrs[name][0])


def number(attrs: Attrs, name: str, default: float = 0.0) -> np.float32:
    """A scalar float attribute, rounded to float32 as C++ sees it."""
    value = attrs.get(name)
    return np.float32(value[0] if value else default)


def operand(inputs: Inputs, k: int) -> Array:
    """Operand k, which must be there."""
    value = inputs[k]
    assert value is not None, f"operand {k} is required"
    return value


def optional(inputs: Inputs, k: int) -> Array | None:
    """Operand k, or None when it is absent."""
    return inputs[k] if k < len(inputs) else None


def check_indices(indices: Array, extent: int | Array) -> None:
    """Raise BadIndex for the first index outside [-extent, extent). `extent` may be an array that broadcasts to `indices`."""
    legal = (indices >= -extent) & (indices < extent)
    if not legal.all():
        at = int(np.argmin(legal))
        raise BadIndex(at, int(indices.reshape(-1)[at]), int(np.broadcast_to(extent, indices.shape).reshape(-1)[at]))
