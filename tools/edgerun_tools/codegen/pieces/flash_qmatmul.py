"""qmatmul with weights in program memory, for cores that multiply bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.pieces._quant import folded, limits
from edgerun_tools.codegen.site import Site, Write

Array = np.ndarray[Any, Any]


def qmatmul(site: Site) -> None:
    """a b bias? factors → y."""
    b, x, y = site.constant(1), site.slot(0), site.out()
    if b.ndim != 2 or b.dtype != np.int8 or site.integer("b_zero"):
        site.refuse("one constant matrix b of int8 without a zero point", f"b of {b.dtype}, {list(b.shape)}, zero point "
                    f"{site.integer('b_zero')}", "quantise weights to int8")
    if not site.has(3):
        site.refuse("a result of 8 bits", f"one of {y.dtype}", "quantise the result, too")
    w, bias = b.T, site.constant(2) if site.has(2) else None
    sign = 0x80 if x.dtype == "i8" else 0
    if sign:
        site.define("ER_SIGNED_BYTES")
    factors = np.broadcast_to(site.constant(3), (2, len(w))).astype(np.int64)
    reach = 255 * np.abs(w.astype(np.int64)).sum(axis=1) + (0 if bias is None else np.abs(bias.astype(np.int64)))
    if not ((reach < 2**23) & (factors[1] == 0)).all():
        site.refuse("sums below 2^23 and scales x w / y below a half", f"sums up to {int(reach.max())}, scales of up to "
                    f"{2.0 ** int(factors[1].max()):g}", "fewer inputs or a coarser result")
    wide = bool(((2 * factors[0] >= 2**24) | (reach * 2 * factors[0] >= (2**15 - 256) << 32)).any())
    if wide:
        site.define("ER_WIDE")
    ends = np.stack([folded(bias, w, site.integer("a_zero") + sign), 2 * factors[0]], axis=1)
    end = limits(site)
    k, n = b.shape
    site.call("qdense_flash.c", "er_qdense", site.x(0), y.elements // n, k, n, f"0x{sign:02x}", site.table("weights", "uint8_t", panels(w)),
              site.table("ends", "int32_t", ends), int(wide), end["y_zero"], end["low"], end["high"], site.y())


def panels(w: Array) -> Array:
    """w [outputs, inputs] int8 → [outputs / 4, inputs, 4] as w + 128, filled up with 0."""
    outputs, inputs = w.shape
    filled = np.zeros((-(-outputs // 4) * 4, inputs), np.uint8)
    filled[:outputs] = (w.astype(np.int16) + 128).astype(np.uint8)
    return filled.reshape(-1, 4, inputs).swapaxes(1, 2)


PIECES: dict[str, Write] = {"qmatmul_i8": qmatmul, "qmatmul_u8": qmatmul}
