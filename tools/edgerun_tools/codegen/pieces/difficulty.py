"""difficulty_f32: how hard the input is, before the network runs."""

from __future__ import annotations

import numpy as np

from edgerun_tools.codegen.site import Site, Write

GREATEST = 4096
"""Pixels along a side: float32 counts them all exactly."""


def difficulty(site: Site) -> None:
    """x → y (alpha, edge, variance, laplacian), of one image."""
    shape = site.slot(0).shape
    if len(shape) not in (3, 4) or int(np.prod(shape[:-3])) != 1 or max(shape) > GREATEST:
        site.refuse(f"one image of at most {GREATEST} pixels a side", f"{list(shape)}")
    last = bool(site.integer("layout"))
    channels, height, width = (shape[-1], *shape[-3:-1]) if last else shape[-3:]
    by_channel = site.table("channels", "float", np.stack([site.step.attrs[n] for n in ("scale", "offset", "gray")], axis=1))
    tau = np.float32(site.real("tau_edge"))
    triples = {n: [float(v) for v in site.step.attrs[n]] for n in ("low", "high", "weights")}
    constants = site.record("image", "er_difficulty", channels=channels, height=height, width=width,
                            channel_step=1 if last else height * width, pixel_step=channels if last else 1,
                            tau_squared=float(tau * tau), **triples)
    work = site.scratch("f32", 4 * (3 * (width + 2) + 2 * channels))
    site.call("difficulty_f32.c", "er_difficulty_f32", site.x(0), constants, by_channel, work, site.y())


PIECES: dict[str, Write] = {"difficulty_f32": difficulty}
