"""conv2d_dw_f32: depthwise convolution, weights of four channels side by side."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._panels import channels
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.pieces.activation import bounds, finish
from edgerun_tools.codegen.site import Site, Write


def conv2d_dw(site: Site) -> None:
    """x w b? r? → y."""
    w = site.constant(1)
    g = window(site, w.shape[:2]).lying()
    weights = site.table("weights", "float", channels(w, g.in_c == g.out_c))
    site.call("conv2d_dw_f32.c", "er_conv2d_dw_f32", g.emit(site), site.x(0), weights, site.x(2) if site.has(2) else "NULL",
              site.x(3) if site.has(3) else "NULL", bounds(site), site.y())
    wide = w.astype(np.float64)
    audit.float32(site, g, audit.depthwise(wide, g), audit.depthwise(np.abs(wide), g), g.kernel_h * g.kernel_w)
    finish(site)


PIECES: dict[str, Write] = {"conv2d_dw_f32": conv2d_dw}
