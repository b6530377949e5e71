"""global_average_pool_f32, global_max_pool_f32."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgerun_tools.codegen.site import Site, Write


def _pool(name: str, site: Site) -> None:
    shape = site.slot(0).shape
    site.call(f"{name}.c", f"er_{name}", site.x(0), shape[0], int(np.prod(shape[1:-1])), shape[-1], site.y())


PIECES: dict[str, Write] = {name: partial(_pool, name) for name in ("global_average_pool_f32", "global_max_pool_f32")}
