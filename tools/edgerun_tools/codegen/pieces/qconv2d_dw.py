"""qconv2d_dw: int8 depthwise convolution, weights of 16 bits in the order of qconv2d_dw.c."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._panels import channels
from edgerun_tools.codegen.pieces._quant import as_int8, quant
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.site import Site, Write


def qconv2d_dw(site: Site) -> None:
    """x w bias? factors? → y."""
    w = site.constant(1).astype(np.int16)
    g = window(site, w.shape[:2])
    bias = site.constant(2).astype(np.int64) if site.has(2) else None
    reach = np.abs(w.reshape(-1, g.out_c).astype(np.int64)).sum(axis=0)
    q = quant(site, bias, site.constant(3) if site.has(3) else None, site.integer("x_zero"), reach)
    packed = channels(w, g.in_c == g.out_c, (0, 2, 1, 3))
    site.call("qconv2d_dw.c", "er_qconv2d_dw", g.emit(site), q, site.x(0), site.table("weights", "int16_t", packed), site.y())
    audit.int8(site, g, audit.depthwise(w.astype(np.int64), g), np.zeros(g.out_c, np.int64) if bias is None else bias,
               as_int8(site.integer("x_zero"), site.slot(0).dtype), padded=False)


PIECES: dict[str, Write] = {"qconv2d_dw_i8": qconv2d_dw, "qconv2d_dw_u8": qconv2d_dw}
