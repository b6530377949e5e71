"""slice."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import DTYPES
from edgerun_tools.codegen.pieces._dims import four, strides
from edgerun_tools.codegen.site import Site, Write


def slice_(site: Site) -> None:
    """x → y."""
    x, y = site.slot(0), site.out()
    lie = strides(x.shape)
    start = sum(a * s for a, s in zip(site.ints("starts"), lie, strict=True))
    dims, steps = four(site, y.shape, [a * s for a, s in zip(site.ints("steps"), lie, strict=True)])
    site.call("slice.c", "er_slice", site.x(0), DTYPES[x.dtype].itemsize, start if y.elements else 0,
              site.table("dims", "int32_t", np.array(dims)), site.table("steps", "int32_t", np.array(steps)), site.y())


PIECES: dict[str, Write] = {f"slice_{s}": slice_ for s in ("x8", "x16", "x32", "x64")}
