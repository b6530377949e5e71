"""average_pool2d_f32."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.site import Site, Write


def average_pool2d(site: Site) -> None:
    """x → y."""
    pads = site.ints("pads", (0, 0, 0, 0))
    g = window(site, site.ints("kernel")).emit(site)
    site.call("average_pool2d_f32.c", "er_average_pool2d_f32", g, site.integer("count_include_pad"), pads[2], pads[3], site.x(0), site.y())


PIECES: dict[str, Write] = {"average_pool2d_f32": average_pool2d}
