"""quantize_f32 to bytes."""

from __future__ import annotations

from edgerun_tools.codegen.site import Site, Write
from edgerun_tools.codegen.text import number


def quantize(site: Site) -> None:
    """x → y."""
    y = site.out()
    if y.dtype not in ("i8", "u8"):
        site.refuse("activations of 8 bits", y.dtype, "quantise the model to 8 bits")
    low, high = (0, 255) if y.dtype == "u8" else (-128, 127)
    scale = number(site.real("scale"), "float")
    site.call("quantize_f32.c", "er_quantize_f32", site.x(0), y.elements, scale, site.integer("zero"), low, high, site.y())


PIECES: dict[str, Write] = {"quantize_f32": quantize}
