"""transpose."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import DTYPES
from edgerun_tools.codegen.pieces._dims import four, strides
from edgerun_tools.codegen.site import Site, Write


def transpose(site: Site) -> None:
    """x → y."""
    x, perm = site.slot(0), site.ints("perm")
    steps = strides(x.shape)
    dims, steps = four(site, [x.shape[p] for p in perm], [steps[p] for p in perm])
    site.call("transpose.c", "er_transpose", site.x(0), DTYPES[x.dtype].itemsize, site.table("dims", "int32_t", np.array(dims)),
              site.table("steps", "int32_t", np.array(steps)), site.y())


PIECES: dict[str, Write] = {f"transpose_{s}": transpose for s in ("x8", "x16", "x32", "x64")}
