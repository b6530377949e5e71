"""lut_x8: functions of a byte as a table."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.site import Site, Write


def lut(site: Site) -> None:
    """x table → y."""
    table = site.table("table", "uint8_t", site.constant(1).view(np.uint8))
    site.call("lut_x8.c", "er_lut_x8", site.x(0), site.out().elements, table, site.y())


PIECES: dict[str, Write] = {"lut_x8": lut}
