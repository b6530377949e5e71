"""conv2d_dw_f32: depthwise convolution, weights as the plan has them."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.pieces.activation import bounds, finish
from edgerun_tools.codegen.site import Site, Write


def conv2d_dw(site: Site) -> None:
    """x w b? r? → y."""
    w = site.constant(1)
    g = window(site, w.shape[:2])
    site.call("conv2d_dw_f32.c", "er_conv2d_dw_f32", g.emit(site), site.x(0), site.x(1), site.x(2) if site.has(2) else "NULL",
              site.x(3) if site.has(3) else "NULL", bounds(site), site.y())
    finish(site)


PIECES: dict[str, Write] = {"conv2d_dw_f32": conv2d_dw}
