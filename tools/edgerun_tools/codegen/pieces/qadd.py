"""qadd: the sum of two quantised tensors."""

from __future__ import annotations

from edgerun_tools.codegen.pieces._quant import as_int8, flip, limits
from edgerun_tools.codegen.site import Site, Write


def qadd(site: Site) -> None:
    """a b → y."""
    a, b, y = site.slot(0), site.slot(1), site.out()
    if a.shape != y.shape or b.shape != y.shape:
        site.refuse("operands of the result's shape", f"{list(a.shape)} and {list(b.shape)} for {list(y.shape)}")
    a_mult, b_mult, shift = site.integer("a_mult"), site.integer("b_mult"), site.integer("shift")
    offset = (1 << (shift - 1)) - as_int8(site.integer("a_zero"), a.dtype) * a_mult - as_int8(site.integer("b_zero"), b.dtype) * b_mult
    terms = site.record("terms", "er_qadd_terms", a_mult=a_mult, b_mult=b_mult, shift=shift, **limits(site),
                        offset=f"{offset & 0xFFFFFFFF}u", a_flip=flip(a.dtype), b_flip=flip(b.dtype))
    site.call("qadd.c", "er_qadd", terms, site.x(0), site.x(1), y.elements, site.y())


PIECES: dict[str, Write] = {"qadd_i8": qadd, "qadd_u8": qadd}
