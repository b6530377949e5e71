"""qsoftmax: softmax of bytes by a table, to bytes or floats."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import flip, limits
from edgerun_tools.codegen.pieces.softmax import along
from edgerun_tools.codegen.site import Site, Write


def qsoftmax(site: Site) -> None:
    """x table → y."""
    outer, n, inner = along(site)
    bits = flip(site.slot(0).dtype)
    table = site.table("table", "int32_t", site.constant(1))
    if site.out().dtype == "f32":
        site.call("qsoftmax_f32.c", "er_qsoftmax_f32", site.x(0), outer, n, inner, bits, table, site.y())
        return
    shape = site.record("shape", "er_qsoftmax_shape", outer=outer, n=n, inner=inner, inverse=site.integer("inverse"), **limits(site),
                        flip=bits)
    site.call("qsoftmax.c", "er_qsoftmax", shape, table, site.x(0), site.y())


PIECES: dict[str, Write] = {"qsoftmax_i8": qsoftmax, "qsoftmax_u8": qsoftmax}
