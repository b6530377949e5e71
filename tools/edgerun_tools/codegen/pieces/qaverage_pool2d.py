"""qaverage_pool2d: the mean of every window of bytes, in another scale."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import record
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.site import Site, Write


def qaverage_pool2d(site: Site) -> None:
    """x scale → y."""
    g = window(site, site.ints("kernel"))
    scale, pads = site.constant(1), site.ints("pads", (0, 0, 0, 0))
    q = record(site, site.integer("x_zero"), True, bias="NULL", factor=site.table("factor", "int32_t", 2 * scale[0]),
               left=site.table("left", "int8_t", scale[1]))
    site.call("qaverage_pool2d.c", "er_qaverage_pool2d", g.emit(site), site.integer("count_include_pad"), pads[2], pads[3], q, site.x(0),
              site.y())


PIECES: dict[str, Write] = {"qaverage_pool2d_i8": qaverage_pool2d, "qaverage_pool2d_u8": qaverage_pool2d}
