"""qmul: the product of two quantised tensors."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import as_int8, flip, limits
from edgerun_tools.codegen.site import Site, Write


def qmul(site: Site) -> None:
    """a b → y."""
    a, b, y = site.slot(0), site.slot(1), site.out()
    if a.shape != y.shape or b.shape != y.shape:
        site.refuse("operands of the result's shape", f"{list(a.shape)} and {list(b.shape)} for {list(y.shape)}")
    terms = site.record("terms", "er_qmul_terms", a_zero=as_int8(site.integer("a_zero"), a.dtype),
                        b_zero=as_int8(site.integer("b_zero"), b.dtype), factor=2 * site.integer("m"), left=site.integer("left"),
                        **limits(site), a_flip=flip(a.dtype), b_flip=flip(b.dtype))
    site.call("qmul.c", "er_qmul", terms, site.x(0), site.x(1), y.elements, site.y())


PIECES: dict[str, Write] = {"qmul_i8": qmul, "qmul_u8": qmul}
