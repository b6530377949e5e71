"""concat."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import DTYPES
from edgerun_tools.codegen.site import Site, Write


def concat(site: Site) -> None:
    """1..n tensors → y."""
    y = site.out()
    axis, size = site.integer("axis") % len(y.shape), DTYPES[y.dtype].itemsize
    outer, at = int(np.prod(y.shape[:axis])), 0
    pitch = y.nbytes // max(outer, 1)
    for k in range(len(site.step.inputs)):
        width = int(np.prod(site.slot(k).shape[axis:])) * size
        if width and outer:
            site.call("concat.c", "er_concat", site.x(k), outer, width, pitch, at, site.y())
        at += width


PIECES: dict[str, Write] = {f"concat_{s}": concat for s in ("x8", "x16", "x32", "x64")}
