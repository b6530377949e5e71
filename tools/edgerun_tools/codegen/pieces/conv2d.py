"""conv2d_f32: direct convolution by register tiles; of one pixel it is a matrix product over all pixels."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._panels import panels
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.pieces.activation import bounds, finish
from edgerun_tools.codegen.site import Site, Write


def conv2d(site: Site) -> None:
    """x w b? r? → y."""
    w = site.constant(1)
    g = window(site, w.shape[1:3]).lying()
    if g.is_pixelwise:
        g = g.in_rows(g.batch * g.in_h * g.in_w)
    weights = site.table("weights", "float", panels(w.reshape(w.shape[0], -1), g.group))
    site.call("conv2d_f32.c", "er_conv2d_f32", g.emit(site), site.x(0), weights, site.x(2) if site.has(2) else "NULL",
              site.x(3) if site.has(3) else "NULL", bounds(site), site.y())
    wide = w.reshape(w.shape[0], -1).astype(np.float64)
    audit.float32(site, g, audit.dense(wide, g), audit.dense(np.abs(wide), g), wide.shape[1])
    finish(site)


PIECES: dict[str, Write] = {"conv2d_f32": conv2d}
