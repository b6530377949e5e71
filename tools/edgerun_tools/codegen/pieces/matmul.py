"""matmul_f32: with one constant matrix a convolution of one pixel over the rows of a, else plain loops."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.checks import audit
from edgerun_tools.codegen.pieces._panels import panels
from edgerun_tools.codegen.pieces._window import Window
from edgerun_tools.codegen.pieces.activation import bounds, finish
from edgerun_tools.codegen.site import Site, Write
from edgerun_tools.codegen.text import number


def matmul(site: Site) -> None:
    """a b bias? r? → y."""
    y = site.out()
    per_column = not site.has(2) or (site.is_constant(2) and _columns(site.slot(2).shape, y.shape[-1]))
    whole = not site.has(3) or site.slot(3).shape == y.shape
    if site.is_constant(1) and len(site.slot(1).shape) == 2 and not site.integer("trans_a") and per_column and whole:
        _with_weights(site)
    else:
        _computed(site)
    finish(site)


def _columns(shape: tuple[int, ...], n: int) -> bool:
    return shape in ((n,), (1, n)) or (n == 1 and int(np.prod(shape)) == 1)


def _with_weights(site: Site) -> None:
    b, y = site.constant(1), site.out()
    b = np.float32(site.real("alpha", 1.0)) * (b if site.integer("trans_b") else b.T)
    n, k = b.shape
    rows = y.elements // max(n, 1)
    g = Window(1, 1, rows, k, 1, rows, n)
    site.call("conv2d_f32.c", "er_conv2d_f32", g.emit(site), site.x(0), site.table("weights", "float", panels(b)),
              site.x(2) if site.has(2) else "NULL", site.x(3) if site.has(3) else "NULL", bounds(site), site.y())
    wide = b.astype(np.float64)
    audit.float32(site, g, audit.dense(wide, g), audit.dense(np.abs(wide), g), k)


def _computed(site: Site) -> None:
    a, b, y = site.slot(0).shape, site.slot(1).shape, site.out().shape
    if site.has(3):
        site.refuse("a residual only where one operand is constant", f"one of shape {list(site.slot(3).shape)}")
    m, n, k = y[-2], y[-1], a[-2] if site.integer("trans_a") else a[-1]
    steps: dict[str, int] = {}
    for name, shape, turned in (("a", a, "trans_a"), ("b", b, "trans_b")):
        lead, batch = shape[:-2], int(np.prod(y[:-2]))
        if int(np.prod(lead)) not in (1, batch):
            site.refuse("operands with equal leading dimensions, or none", f"{list(a)} and {list(b)}")
        row, column = (1, shape[-1]) if site.integer(turned) else (shape[-1], 1)
        step = shape[-1] * shape[-2] if int(np.prod(lead)) == batch > 1 else 0
        steps |= {f"{name}_batch": step, f"{name}_row": row, f"{name}_column": column}
    bias_row = bias_column = 0
    if site.has(2):
        shape = (1, 1, *site.slot(2).shape)[-2:]
        if site.slot(2).elements != shape[0] * shape[1]:
            site.refuse("a bias of at most two dimensions", f"one of shape {list(site.slot(2).shape)}")
        bias_row, bias_column = shape[1] if shape[0] > 1 else 0, 1 if shape[1] > 1 else 0
    record = site.record("matrices", "er_matrices", batch=int(np.prod(y[:-2])), m=m, k=k, n=n, **steps, bias_row=bias_row,
                         bias_column=bias_column)
    site.call("matmul_f32.c", "er_matmul_f32", record, site.x(0), site.x(1), site.x(2) if site.has(2) else "NULL",
              number(site.real("alpha", 1.0), "float"), bounds(site), site.y())


PIECES: dict[str, Write] = {"matmul_f32": matmul}
