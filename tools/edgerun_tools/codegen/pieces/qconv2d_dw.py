"""qconv2d_dw: int8 depthwise convolution, weights as the plan has them."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.pieces._quant import quant
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.site import Site, Write


def qconv2d_dw(site: Site) -> None:
    """x w bias? factors? → y."""
    w = site.constant(1)
    g = window(site, w.shape[:2])
    bias = site.constant(2).astype(np.int64) if site.has(2) else None
    q = quant(site, bias, site.constant(3) if site.has(3) else None, site.integer("x_zero"), g.out_c)
    wide = w.dtype == np.int16
    weights = site.table("weights", "int16_t" if wide else "int8_t", w)
    name = "qconv2d_dw_i16" if wide else "qconv2d_dw"
    site.call(f"{name}.c", f"er_{name}", g.emit(site), q, site.x(0), weights, site.y())


PIECES: dict[str, Write] = {"qconv2d_dw_i8": qconv2d_dw, "qconv2d_dw_u8": qconv2d_dw}
