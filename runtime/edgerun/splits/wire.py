"""How a tensor of features is written for the wire, and what that loses.

    encoding   bytes an element   |decoded - x| at most                            refuses
    fp32       4                  0: the same bits                                 nothing
    fp16       2                  2^-11 |x| (normal numbers), 2^-25 (below 2^-14)  |x| > 65,504 and what is not finite
    int8       1                  scale / 2, scale = (max - min) / 255             what is not finite

int8 is a byte q with x ~ scale (q - zero), the interval [min, max] being that of the tensor itself, widened to hold 0, so that zeros
(most of what a ReLU gives) stay zeros. Tensors that are not float32 travel as they are, whatever was asked for: they are exact and small.
Bytes are little-endian, in the order of the dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import InputError, OptionError

Array = np.ndarray[Any, Any]
ENCODINGS = ("fp32", "fp16", "int8")
_CODES: dict[str, np.dtype[Any]] = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2"), "int8": np.dtype("u1")}
HALF_MOST = 65504.0


@dataclass(frozen=True)
class Packed:
    """A tensor on the wire. dtype: that of the tensor (NumPy's name); encoding "raw" where it is not float32; scale and zero: of
    int8, else 1 and 0."""

    payload: bytes
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    scale: float = 1.0
    zero: int = 0


def pack(x: Array, encoding: str = "fp32", name: str = "features") -> Packed:
    """x of any shape. OptionError for an unknown encoding; InputError (with `name`) for values that it cannot hold."""
    if encoding not in ENCODINGS:
        raise OptionError(f"encoding: expected one of {', '.join(ENCODINGS)}; found {encoding!r}")
    if x.dtype != np.float32:
        if x.dtype == object:
            raise InputError(f"'{name}': expected numbers; found {x.dtype}, which cannot travel")
        return Packed(_bytes(x, x.dtype.newbyteorder("<")), str(x.dtype), x.shape, "raw")
    if encoding == "fp32":
        return Packed(_bytes(x, _CODES[encoding]), "float32", x.shape, encoding)
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):  # min and max pass NaN on
        raise InputError(f"'{name}': encoding {encoding}: expected finite values; found {low} to {high}; send fp32")
    if encoding == "fp16":
        if max(-low, high) > HALF_MOST:
            raise InputError(f"'{name}': encoding fp16: expected values within +-{HALF_MOST:,.0f}; found {low:g} to {high:g}; send fp32 "
                             "or int8")
        return Packed(_bytes(x, _CODES[encoding]), "float32", x.shape, encoding)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255)) or float(np.finfo(np.float32).tiny)
    zero = round(-low / scale)
    q = np.clip(np.rint(x.astype(np.float64) / scale) + zero, 0, 255)
    return Packed(_bytes(q, _CODES[encoding]), "float32", x.shape, encoding, scale, zero)


def unpack(p: Packed, name: str = "features") -> Array:
    """The tensor again, writable. InputError where the bytes do not fit the shape, or nothing fits the encoding."""
    known = p.encoding == "raw" or (p.encoding in _CODES and p.dtype == "float32")
    if not known or (p.encoding == "int8" and not (math.isfinite(p.scale) and p.scale > 0 and 0 <= p.zero <= 255)):
        raise InputError(f"'{name}': expected raw, or {', '.join(ENCODINGS)} of float32 with a positive scale and a zero of 0 to 255; "
                         f"found {p.encoding} of {p.dtype}, scale {p.scale}, zero {p.zero}")
    code = _raw(p.dtype, name) if p.encoding == "raw" else _CODES[p.encoding]
    expected = math.prod(p.shape) * code.itemsize
    if min(p.shape, default=0) < 0 or len(p.payload) != expected:
        raise InputError(f"'{name}': expected {expected} bytes for {p.encoding} of shape {list(p.shape)}; found {len(p.payload)}")
    found = np.frombuffer(p.payload, code).reshape(p.shape)
    if p.encoding == "raw":
        return found.astype(code.newbyteorder("="))
    if p.encoding == "int8":
        return (np.float32(p.scale) * (found.astype(np.float32) - np.float32(p.zero))).astype(np.float32)
    return found.astype(np.float32)


def bytes_for(shape: Sequence[int], dtype: np.dtype[Any], encoding: str) -> int:
    """Bytes of a tensor's payload."""
    return math.prod(shape) * (_CODES[encoding].itemsize if dtype == np.float32 else dtype.itemsize)


def _raw(dtype: str, name: str) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "biuf":
        raise InputError(f"'{name}': expected a type of numbers; found {dtype!r}")
    return found.newbyteorder("<")


def _bytes(x: Array, code: np.dtype[Any]) -> bytes:
    return np.ascontiguousarray(x.astype(code)).tobytes()
