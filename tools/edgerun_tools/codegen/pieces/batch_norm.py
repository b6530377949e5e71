"""batch_norm_f32: scale and shift of every channel."""

from __future__ import annotations

from edgerun_tools.codegen.pieces.activation import finish_all
from edgerun_tools.codegen.site import Site, Write


def batch_norm(site: Site) -> None:
    """x scale shift → y."""
    channels = site.out().shape[-1]
    rows = site.out().elements // max(channels, 1)
    site.call("batch_norm_f32.c", "er_batch_norm_f32", site.x(0), site.x(1), site.x(2), rows, channels, site.y())
    finish_all(site)


PIECES: dict[str, Write] = {"batch_norm_f32": batch_norm}
