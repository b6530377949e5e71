"""dequantize of bytes and of int32 sums."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import as_int8, flip
from edgerun_tools.codegen.site import Site, Write
from edgerun_tools.codegen.text import number


def dequantize(site: Site) -> None:
    """x → y."""
    x, scale, zero = site.slot(0), number(site.real("scale"), "float"), site.integer("zero")
    if x.dtype == "i32":
        site.call("dequantize_i32.c", "er_dequantize_i32", site.x(0), x.elements, zero, scale, site.y())
    else:
        site.call("dequantize_x8.c", "er_dequantize_x8", site.x(0), x.elements, flip(x.dtype), as_int8(zero, x.dtype), scale, site.y())


PIECES: dict[str, Write] = {f"dequantize_{t}": dequantize for t in ("i8", "u8", "i32")}
