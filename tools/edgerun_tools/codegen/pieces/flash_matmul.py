"""matmul_f32 with weights in program memory."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.pieces import activation, flash_activation
from edgerun_tools.codegen.site import Site, Write


def matmul(site: Site) -> None:
    """a b bias? → y, b and bias constant."""
    b, y = site.constant(1), site.out()
    if b.ndim != 2 or site.integer("trans_a") or site.has(3):
        site.refuse("a product with one constant matrix and a bias", "transposed a, a residual, or b of other than two dimensions")
    w = np.float32(site.real("alpha", 1.0)) * (b if site.integer("trans_b") else b.T)
    n, k = w.shape
    bias = site.constant(2).reshape(-1) if site.has(2) else np.zeros(n, np.float32)
    if bias.size != n:
        site.refuse("a bias for every output", f"one of shape {list(site.slot(2).shape)}")
    code = site.integer("activation")
    own = code in flash_activation.PAIRS  # not in place: when it is computed again its operand is still there
    to = site.scratch("f32", y.nbytes) if own and site.program.maed else site.y()
    site.call("dense_f32_flash.c", "er_dense_f32", site.x(0), y.elements // max(n, 1), k, n,
              site.table("weights", "float", np.concatenate([bias[:, None], w], axis=1)), to)
    if code != activation.NONE:
        flash_activation.apply(site, code, to)


PIECES: dict[str, Write] = {"matmul_f32": matmul}
