"""Constants of the int8 kernels: fixed-point factors, zero points of bytes taken as int8, weights in the order of tile_i8.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.site import Site

Array = np.ndarray[Any, Any]


def flip(dtype: str) -> int:
    """What turns a byte of this type into an int8 by exclusive or."""
    return 0x80 if dtype == "u8" else 0


def as_int8(zero: int, dtype: str) -> int:
    """A zero point of a tensor whose bytes are taken as int8."""
    return zero - 128 if dtype == "u8" else zero


def limits(site: Site) -> dict[str, int]:
    """The last three attributes of every kernel that gives bytes: y_zero, low, high."""
    low, high = (0, 255) if site.out().dtype == "u8" else (-128, 127)
    return {"y_zero": site.integer("y_zero"), "low": site.integer("low", low), "high": site.integer("high", high)}


def quant(site: Site, bias: Array | None, factors: Array | None, x_zero: int, outputs: int) -> str:
    """er_quant of a product: bias (int64, folded zero point included) and factors [2, outputs or 1] or None."""
    wrapped = (np.zeros(outputs, np.int64) if bias is None else bias).astype(np.int64).astype(np.uint32).view(np.int32)
    fields: dict[str, Any] = {"bias": site.table("bias", "int32_t", wrapped), "factor": "NULL", "left": "NULL"}
    if factors is not None:
        every = np.broadcast_to(factors, (2, outputs))
        fields["factor"] = site.table("factor", "int32_t", 2 * every[0])
        if every[1].any():
            fields["left"] = site.table("left", "int8_t", every[1])
    x = site.slot(0).dtype
    ends = limits(site) if factors is not None else {"y_zero": 0, "low": 0, "high": 0}
    return site.record("quant", "er_quant", **fields, x_zero=as_int8(x_zero, x), **ends, flip=f"0x{flip(x) * 0x01010101:08x}u")


def folded(bias: Array | None, w: Array, x_zero: int) -> Array:
    """The bias of sums of x instead of x - x_zero; w [outputs, …]."""
    sums = w.reshape(w.shape[0], -1).sum(axis=1, dtype=np.int64)
    return np.asarray((0 if bias is None else bias.astype(np.int64)) - x_zero * sums)


def panels(w: Array, group: int, runs: int) -> Array:
    """w [outputs, runs · inputs of a run] → [group, panels, runs, steps, 4 outputs, 4 inputs], runs filled up with zeros; of four
    int8 inputs the middle two are exchanged."""
    outputs, run = w.shape[0] // group, w.shape[1] // runs
    filled = np.zeros((group, -(-outputs // 4) * 4, runs, -(-run // 4) * 4), w.dtype)
    filled[:, :outputs, :, :run] = w.reshape(group, outputs, runs, run)
    ordered = filled.reshape(group, -1, 4, runs, filled.shape[3] // 4, 4).transpose(0, 1, 3, 4, 2, 5)
    return np.ascontiguousarray(ordered[..., [0, 2, 1, 3]] if w.dtype == np.int8 else ordered)
