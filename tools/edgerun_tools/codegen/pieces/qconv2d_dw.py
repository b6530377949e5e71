"""qconv2d_dw: int8 depthwise convolution over strips of widened columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._quant import as_int8, folded, quant
from edgerun_tools.codegen.pieces._window import Window, window
from edgerun_tools.codegen.site import Site, Write

Array = np.ndarray[Any, Any]
TURNS = 16
"""Pixels of a result for which it pays to turn the weights instead of widening every row again."""


def qconv2d_dw(site: Site) -> None:
    """x w bias? factors? → y."""
    given = site.constant(1).astype(np.int16)
    g = window(site, given.shape[:2]).lying()
    w = given.reshape(g.kernel_h, g.kernel_w, g.out_c).swapaxes(0, 1).reshape(-1, g.out_c).T  # column by column
    x_zero = site.integer("x_zero")
    zero = as_int8(x_zero, site.slot(0).dtype)
    bias = folded(site.constant(2) if site.has(2) else None, w, zero)
    q = quant(site, bias, site.constant(3) if site.has(3) else None, x_zero, np.abs(w.astype(np.int64)).sum(axis=1))
    columns = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1
    inside = max(0, min(g.in_w, columns - g.pad_left))
    small = w.shape[1] <= 16 and columns * g.kernel_h <= 1 << 13
    if site.program.mve and site.constant(1).dtype == np.int8 and g.dilation_w == 1 and small:
        _for_mve(site, g, w, q, columns * g.kernel_h, inside)
    else:
        _call(site, g, w, q, columns * g.kernel_h, inside)
    audit.int8(site, g, audit.depthwise(given.astype(np.int64), g), bias, zero, padded=True)


def _call(site: Site, g: Window, w: Array, q: str, size: int, inside: int) -> None:
    """w [channels, taps]; size: elements of a strip."""
    length = size + 2 & ~1  # the last run may be read up to an even number
    turns = g.kernel_h > 1 == g.dilation_h == g.dilation_w and g.out_h * g.out_w >= TURNS
    phases = g.kernel_h if turns else 1
    w = w.reshape(g.out_c, 1 if g.dilation_w == 1 else g.kernel_w, -1)
    packed = np.zeros((*w.shape[:2], w.shape[2] + 1 & ~1), np.int16)
    packed[:, :, : w.shape[2]] = w
    strips = site.record("strips", "er_strips", inside=inside, length=length, runs=w.shape[1], next=g.dilation_w * g.kernel_h,
                         pairs=packed.shape[2] // 2, phases=phases)
    turned = phases * 4 * packed.size // g.in_c if turns else 0
    scratch = site.scratch("i16", 2 * (4 * length + turned))
    site.call("qconv2d_dw.c", "er_qconv2d_dw", g.emit(site), strips, q, site.x(0), site.table("weights", "int16_t", packed), scratch,
              site.y())


def _for_mve(site: Site, g: Window, w: Array, q: str, length: int, inside: int) -> None:
    """w [channels, taps]."""
    bands = site.record("bands", "er_bands", inside=inside, length=length)
    packed = np.zeros((g.out_c, 16), np.int8)
    packed[:, : w.shape[1]] = w
    scratch = site.scratch("u8", 8 * length + 15 + 3 * g.stride_w * g.kernel_h)
    site.call("qconv2d_dw_mve.c", "er_qconv2d_dw_mve", g.emit(site), bands, q, site.x(0), site.table("weights", "int8_t", packed),
              f"(int8_t *)({scratch})", site.y())


PIECES: dict[str, Write] = {"qconv2d_dw_i8": qconv2d_dw, "qconv2d_dw_u8": qconv2d_dw}
