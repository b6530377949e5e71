"""Dtype sets of the kernel catalogue (docs/kernels.md)."""

from __future__ import annotations

import onnx_ir as ir

from .graph import Unsupported, dtype_of

F = frozenset({"f32"})
N = frozenset({"f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"})
A = N | {"b8"}
B = frozenset({"b8"})
_BITS = {
    "f32": "x32",
    "f64": "x64",
    "f16": "x16",
    "bf16": "x16",
    "i8": "x8",
    "u8": "x8",
    "i16": "x16",
    "u16": "x16",
    "i32": "x32",
    "u32": "x32",
    "i64": "x64",
    "u64": "x64",
    "b8": "x8",
}


def require(value: ir.Value, dtypes: frozenset[str]) -> str:
    """The value's dtype if a kernel for it exists. Raises Unsupported."""
    dtype = dtype_of(value)
    if dtype not in dtypes:
        raise Unsupported(f"no kernel for {dtype}")
    return dtype


def bits(value: ir.Value) -> str:
    """Kernel suffix of bit-moving kernels ("x32")."""
    return _BITS[dtype_of(value)]
