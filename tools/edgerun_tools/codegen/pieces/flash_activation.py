"""Activations of float32 on cores without a floating-point unit: sigmoid and tanh by exponent sums, others as elsewhere."""

from __future__ import annotations

from functools import partial

from edgerun_tools.codegen.pieces import activation
from edgerun_tools.codegen.site import Site, Write

PAIRS = {activation.SIGMOID: "sigmoid", activation.TANH: "tanh"}


def apply(site: Site, code: int, x: str) -> None:
    """Emits one activation over `x` into the result."""
    if code not in PAIRS:
        activation.apply(site, code, x, site.real("act_alpha"), site.real("act_beta"))
        return
    name, arguments = PAIRS[code], (x, site.out().elements, site.y())
    if site.program.maed:
        site.define("ER_VERIFIED")
        site.guard(f"{name}_pair_f32.c", f"er_{name}_pair_f32", *arguments)
    else:
        site.call(f"{name}_pair_f32.c", f"(void)er_{name}_pair_f32", *arguments)


def _standalone(code: int, site: Site) -> None:
    apply(site, code, site.x(0))


PIECES: dict[str, Write] = activation.PIECES | {f"{name}_f32": partial(_standalone, code) for code, name in PAIRS.items()}
