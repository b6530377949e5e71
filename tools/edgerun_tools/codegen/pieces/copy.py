"""copy: the same bytes, perhaps in another shape."""

from __future__ import annotations

from edgerun_tools.codegen.site import Site, Write


def copy(site: Site) -> None:
    """x → y."""
    site.call("base.h", "memcpy", site.y(), site.x(0), site.out().nbytes)


PIECES: dict[str, Write] = {f"copy_{s}": copy for s in ("x8", "x16", "x32", "x64")}
