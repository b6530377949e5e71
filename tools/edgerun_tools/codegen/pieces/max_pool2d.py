"""max_pool2d of floats and bytes."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import flip
from edgerun_tools.codegen.pieces._window import window
from edgerun_tools.codegen.site import Site, Write


def max_pool2d(site: Site) -> None:
    """x → y."""
    g = window(site, site.ints("kernel")).emit(site)
    if site.out().dtype == "f32":
        site.call("max_pool2d_f32.c", "er_max_pool2d_f32", g, site.x(0), site.y())
    else:
        site.call("max_pool2d_x8.c", "er_max_pool2d_x8", g, flip(site.out().dtype), site.x(0), site.y())


PIECES: dict[str, Write] = {f"max_pool2d_{t}": max_pool2d for t in ("f32", "i8", "u8")}
