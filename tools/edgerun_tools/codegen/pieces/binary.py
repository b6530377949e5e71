"""add, sub, mul, div, min, max of float32, operands broadcast."""

from __future__ import annotations

from functools import partial

from edgerun_tools.codegen.pieces._dims import four, strides
from edgerun_tools.codegen.pieces.activation import finish_all
from edgerun_tools.codegen.site import Site, Write


def _binary(name: str, site: Site) -> None:
    y = site.out().shape
    steps = []
    for k in (0, 1):
        shape = site.slot(k).shape
        lie = [s if d != 1 else 0 for s, d in zip(strides(shape), shape, strict=True)]
        steps.append([0] * (len(y) - len(shape)) + lie)
    dims, a, b = four(site, y, *steps)
    spread = site.record("spread", "er_spread", dims=dims, a=a, b=b)
    site.call(f"{name}_f32.c", f"er_{name}_f32", spread, site.x(0), site.x(1), site.y())
    finish_all(site)


PIECES: dict[str, Write] = {f"{name}_f32": partial(_binary, name) for name in ("add", "sub", "mul", "div", "min", "max")}
