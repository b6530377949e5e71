"""qconv2d: int8 convolution over a ring of widened rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._quant import as_int8, fits, folded, panels, quant
from edgerun_tools.codegen.pieces._window import Window, rows_of, window
from edgerun_tools.codegen.site import Site, Write

Array = np.ndarray[Any, Any]


def qconv2d(site: Site) -> None:
    """x w bias? factors? → y."""
    w = site.constant(1)
    g = window(site, w.shape[1:3])
    if g.is_pixelwise:
        g = g.in_rows(rows_of(g.batch * g.in_h * g.in_w))
    emit(site, g, w.reshape(w.shape[0], -1), site.integer("x_zero"))


def emit(site: Site, g: Window, w: Array, x_zero: int) -> None:
    """A convolution with weights [outputs, kernel_h · kernel_w · inputs of a group], int8 or int16; operands 2 and 3 end it."""
    inputs = g.in_c // g.group
    joined = g.group == 1 and g.dilation_w == 1
    runs, run = (1, g.kernel_w * inputs) if joined else (g.kernel_w, inputs)
    rows = (g.kernel_h - 1) * g.dilation_h + 1
    length = ((g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1) * g.in_c
    bias = site.constant(2) if site.has(2) else None
    factors = site.constant(3) if site.has(3) else None
    zero = as_int8(x_zero, site.slot(0).dtype)
    q = quant(site, folded(bias, w, zero), factors, x_zero, np.abs(w.astype(np.int64)).sum(axis=1))
    wide = not fits(w)
    if wide:
        site.define("ER_WIDE_WEIGHTS")
    ring = site.record("ring", "er_ring", rows=rows, length=length, inputs=inputs, runs=runs, pairs=-(-run // 2), wide=int(wide))
    weights = site.table("weights", "int16_t", panels(w, g.group, g.kernel_h * runs))
    scratch = site.scratch("i16", 2 * (rows * length + 2))  # the last run may be read up to an even number
    site.call("qconv2d.c", "er_qconv2d", g.emit(site), ring, q, site.x(0), weights, scratch, site.y())
    audit.int8(site, g, audit.dense(w.astype(np.int64), g), folded(bias, w, zero), zero, padded=True)


PIECES: dict[str, Write] = {"qconv2d_i8": qconv2d, "qconv2d_u8": qconv2d}
