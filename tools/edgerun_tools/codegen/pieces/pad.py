"""pad with a constant."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import DTYPES
from edgerun_tools.codegen.pieces._dims import LOOPS
from edgerun_tools.codegen.site import Site, Write


def pad(site: Site) -> None:
    """x value? → y."""
    x, y = site.slot(0), site.out()
    if site.integer("mode") != 0 or len(x.shape) > LOOPS:
        site.refuse(f"constant padding of at most {LOOPS} dimensions", f"mode {site.integer('mode')}, shape {list(x.shape)}")
    size, more = DTYPES[x.dtype].itemsize, LOOPS - len(x.shape)
    value = site.x(1) if site.has(1) else site.table("value", "uint8_t", np.zeros(size, np.uint8))
    tables = [site.table(name, "int32_t", np.array([fill] * more + list(values))) for name, fill, values in (
        ("dims", 1, y.shape), ("sizes", 1, x.shape), ("before", 0, site.ints("pads")[: len(x.shape)]))]
    site.call("pad.c", "er_pad", site.x(0), value, size, *tables, site.y())


PIECES: dict[str, Write] = {f"pad_{s}": pad for s in ("x8", "x16", "x32", "x64")}
