"""softmax_f32, log_softmax_f32."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgerun_tools.codegen.site import Site, Write


def along(site: Site) -> tuple[int, int, int]:
    """(elements before the axis, on it, behind it) of operand 0; a scalar is one row of one."""
    shape = site.slot(0).shape or (1,)
    axis = site.integer("axis", -1) % len(shape)
    return int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1:]))


def _softmax(name: str, site: Site) -> None:
    outer, n, inner = along(site)
    site.call(f"{name}.c", f"er_{name}", site.x(0), outer, n, inner, site.y())


PIECES: dict[str, Write] = {name: partial(_softmax, name) for name in ("softmax_f32", "log_softmax_f32")}
