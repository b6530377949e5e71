"""qmatmul: int8 matrix product with constant weights, as a convolution of one pixel over the rows of a."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._window import Window, rows_of
from edgerun_tools.codegen.pieces.qconv2d import emit
from edgerun_tools.codegen.site import Site, Write


def qmatmul(site: Site) -> None:
    """a b bias? factors? → y."""
    b, y = site.constant(1), site.out()
    if b.ndim != 2 or site.integer("b_zero"):
        site.refuse("one constant matrix b without a zero point", f"b of shape {list(b.shape)}, zero point {site.integer('b_zero')}")
    k, n = b.shape
    rows = y.elements // max(n, 1)
    width = rows_of(rows)
    emit(site, Window(1, rows // width, width, k, rows // width, width, n), b.T, site.integer("a_zero"))


PIECES: dict[str, Write] = {"qmatmul_i8": qmatmul, "qmatmul_u8": qmatmul}
