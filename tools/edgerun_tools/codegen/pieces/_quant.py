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


def record(site: Site, x_zero: int, large: bool, **pointers: str) -> str:
    """er_quant with these pointers: zero points and bounds as int8."""
    x, y = site.slot(0).dtype, site.out().dtype
    ends = {k: as_int8(v, y) for k, v in limits(site).items()} if y != "i32" else {"y_zero": 0, "low": 0, "high": 0}
    within = (ends["low"], ends["high"]) != (-128, 127)
    plain = pointers["factor"] != "NULL" and pointers["left"] == "NULL" and not within and not flip(y)
    return site.record("quant", "er_quant", **pointers, x_zero=as_int8(x_zero, x), **ends, within=int(within), large=int(large),
                       plain=int(plain), x_flip=f"0x{flip(x) * 0x01010101:08x}u", y_flip=f"0x{flip(y):02x}u")


def quant(site: Site, bias: Array | None, factors: Array | None, x_zero: int, reach: Array) -> str:
    """er_quant of a product: bias (int64, modulo 2^32) and factors [2, outputs or 1] or None, filled up for tiles of four outputs.
    reach: Σ |w| of every output."""
    outputs, large = len(reach), False

    def filled(values: Array) -> Array:
        return np.concatenate([values, np.zeros(3, values.dtype)])

    wrapped = (np.zeros(outputs, np.int64) if bias is None else bias).astype(np.int64).astype(np.uint32).view(np.int32)
    pointers = {"bias": site.table("bias", "int32_t", filled(wrapped)), "factor": "NULL", "left": "NULL"}
    if factors is not None:
        every = np.broadcast_to(factors, (2, outputs)).astype(np.int64)
        most = 255 * reach + (0 if bias is None else np.abs(bias))  # of a folded bias more than enough
        large = bool((most >= np.int64(1) << (31 - every[1])).any())
        pointers["factor"] = site.table("factor", "int32_t", filled(2 * every[0]))
        if every[1].any():
            pointers["left"] = site.table("left", "int8_t", filled(every[1]))
    return record(site, x_zero, large, **pointers)


def folded(bias: Array | None, w: Array, x_zero: int) -> Array:
    """The bias of sums of x instead of x - x_zero; w [outputs, …]."""
    sums = w.reshape(w.shape[0], -1).sum(axis=1, dtype=np.int64)
    return np.asarray((0 if bias is None else bias.astype(np.int64)) - x_zero * sums)


def fits(w: Array) -> bool:
    """Whether weights [outputs, inputs] may go two to a halfword (tile_i8.h): int8, sums with any bytes below 2^23, and no -129."""
    return w.dtype == np.int8 and int(w.min(initial=0)) > -128 and int(np.abs(w.astype(np.int64)).sum(axis=1).max(initial=0)) * 128 < 2**23


def panels(w: Array, group: int, runs: int) -> Array:
    """w [outputs, runs · inputs of a run] → int16 as tile_i8.h or (where the weights do not fit there) tile_i16.h reads it."""
    outputs, run = w.shape[0] // group, w.shape[1] // runs
    filled = np.zeros((group, -(-outputs // 4) * 4, runs, -(-run // 2) * 2), np.int16)
    filled[:, :outputs, :, :run] = w.reshape(group, outputs, runs, run)
    tiles = filled.reshape(group, -1, 4, runs, filled.shape[3] // 2, 2)  # group, panel, output, run, pair, input
    if fits(w):
        tiles = tiles[:, :, 0::2] + 256 * tiles[:, :, 1::2]
    return np.ascontiguousarray(tiles.transpose(0, 1, 3, 4, 2, 5), np.int16)


def blocks(w: Array, group: int) -> Array:
    """int8 w [outputs, inputs of a group] → int8 as tile_mve.h reads it."""
    outputs, inputs = w.shape[0] // group, w.shape[1]
    filled = np.zeros((group, -(-outputs // 4) * 4, -(-inputs // 16) * 16), np.int8)
    filled[:, :outputs, :inputs] = w.reshape(group, outputs, inputs)
    return filled.reshape(group, -1, 4, filled.shape[2] // 16, 16).swapaxes(2, 3)
