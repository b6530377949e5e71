"""qconv2d: int8 convolution over a ring of widened rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._quant import as_int8, blocks, fits, folded, panels, quant
from edgerun_tools.codegen.pieces._window import Window, rows_of, window
from edgerun_tools.codegen.site import Site, Write

Array = np.ndarray[Any, Any]


def qconv2d(site: Site) -> None:
    """x w bias? factors? → y."""
    w = site.constant(1)
    g = window(site, w.shape[1:3]).lying()
    if g.is_pixelwise:
        g = g.in_rows(rows_of(g.batch * g.in_h * g.in_w))
    emit(site, g, w.reshape(w.shape[0], -1), site.integer("x_zero"))


def emit(site: Site, g: Window, w: Array, x_zero: int) -> None:
    """A convolution with weights [outputs, kernel_h · kernel_w · inputs of a group], int8 or int16; operands 2 and 3 end it."""
    bias = site.constant(2) if site.has(2) else None
    zero = as_int8(x_zero, site.slot(0).dtype)
    sums = folded(bias, w, zero)
    q = quant(site, sums, site.constant(3) if site.has(3) else None, x_zero, np.abs(w.astype(np.int64)).sum(axis=1))
    if site.program.mve and w.dtype == np.int8:
        _for_mve(site, g, w, q)
    else:
        _call(site, g, w, q)
    audit.int8(site, g, audit.dense(w.astype(np.int64), g), sums, zero, padded=True)


def _call(site: Site, g: Window, w: Array, q: str) -> None:
    inputs = g.in_c // g.group
    joined = g.group == 1 and g.dilation_w == 1
    lines, runs, run = (1, 1, g.kernel_h * g.kernel_w * inputs) if joined else (g.kernel_h, g.kernel_w, inputs)
    rows = g.kernel_h if joined else (g.kernel_h - 1) * g.dilation_h + 1
    columns = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1
    length, inside = columns * g.in_c, max(0, min(g.in_w, columns - g.pad_left))
    wide = not fits(w)
    if wide:
        site.define("ER_WIDE_WEIGHTS")
    ring = site.record("ring", "er_ring", rows=rows, length=length, inside=inside, inputs=inputs, lines=lines, runs=runs,
                       pairs=-(-run // 2), wide=int(wide), joined=int(joined))
    weights = site.table("weights", "int16_t", panels(by_column(w, g) if joined else w, g.group, lines * runs))
    scratch = site.scratch("i16", 2 * (rows * length + 2))  # the last run may be read up to an even number
    site.call("qconv2d.c", "er_qconv2d", g.emit(site), ring, q, site.x(0), weights, scratch, site.y())


def _for_mve(site: Site, g: Window, w: Array, q: str) -> None:
    size = -(-w.shape[1] // 16)
    columns = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1
    joined = g.group == 1 and g.dilation_w == 1
    direct = g.is_pixelwise and joined and g.in_c % 16 == 0 and site.slot(0).dtype == "i8"
    gather = site.record("gather", "er_gather", blocks=size, mode=2 if direct else int(joined), length=columns * g.in_c,
                         inside=max(0, min(g.in_w, columns - g.pad_left)))
    weights = site.table("weights", "int8_t", blocks(by_column(w, g) if joined else w, g.group))
    scratch = g.kernel_h * columns * g.in_c + 15 if joined else 16 * size
    place = "NULL" if direct else f"(int8_t *)({site.scratch('u8', scratch)})"
    site.call("qconv2d_mve.c", "er_qconv2d_mve", g.emit(site), gather, q, site.x(0), weights, place, site.y())


def by_column(w: Array, g: Window) -> Array:
    """Weights [outputs, kernel_h · kernel_w · inputs] in the order of columns: [outputs, kernel_w · kernel_h · inputs]."""
    return w.reshape(len(w), g.kernel_h, g.kernel_w, -1).swapaxes(1, 2).reshape(len(w), -1)


PIECES: dict[str, Write] = {"qconv2d_i8": qconv2d, "qconv2d_u8": qconv2d}
