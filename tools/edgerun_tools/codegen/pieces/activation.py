"""Activations: of their own, and after kernels that fuse only intervals (relu, clip)."""

from __future__ import annotations

from functools import partial

from edgerun_tools.codegen.site import Site, Write
from edgerun_tools.codegen.text import number

NONE, RELU, CLIP, LEAKY_RELU, SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH, SILU, GELU, GELU_TANH, ELU = range(12)
NAMES = {CLIP: "clip", LEAKY_RELU: "leaky_relu", SIGMOID: "sigmoid", TANH: "tanh", HARD_SIGMOID: "hard_sigmoid",
         HARD_SWISH: "hard_swish", SILU: "silu", GELU: "gelu", GELU_TANH: "gelu_tanh", ELU: "elu"}
"""Code (docs/kernels.md) → stem of the C file; relu is clip."""


def bounds(site: Site) -> str:
    """er_bounds of a step's fused activation: of relu and clip their interval, of others everything."""
    code = site.integer("activation")
    low = 0.0 if code == RELU else site.real("act_alpha") if code == CLIP else float("-inf")
    high = site.real("act_beta") if code == CLIP else float("inf")
    if site.program.asked.kinds:
        low = min(low, high)  # as the kernel has it; checks apply the two in the other order
    return site.bounds(low, high)


def finish(site: Site) -> None:
    """Emits what of the fused activation `bounds` cannot hold, as a pass over the result."""
    code = site.integer("activation")
    if code not in (NONE, RELU, CLIP):
        apply(site, code, site.y(), site.real("act_alpha"), site.real("act_beta"))


def finish_all(site: Site) -> None:
    """Emits the fused activation as a pass over the result."""
    code = site.integer("activation")
    if code != NONE:
        apply(site, code, site.y(), site.real("act_alpha"), site.real("act_beta"))


def apply(site: Site, code: int, x: str, alpha: float, beta: float) -> None:
    """Emits one activation over `x` into the result."""
    if code == RELU:
        code, alpha, beta = CLIP, 0.0, float("inf")
    name = NAMES[code]
    site.call(f"{name}_f32.c", f"er_{name}_f32", x, site.out().elements, number(alpha, "float"), number(beta, "float"), site.y())


def _standalone(code: int, site: Site) -> None:
    if site.integer("paper"):
        site.refuse("checks other than maed-paper", "the published identities")
    if code == GELU and site.integer("tanh"):
        code = GELU_TANH
    apply(site, code, site.x(0), site.real("act_alpha"), site.real("act_beta"))


PIECES: dict[str, Write] = {
    f"{name}_f32": partial(_standalone, code)
    for name, code in {
        "relu": RELU, "clip": CLIP, "leaky_relu": LEAKY_RELU, "sigmoid": SIGMOID, "tanh": TANH, "elu": ELU,
        "hard_sigmoid": HARD_SIGMOID, "hard_swish": HARD_SWISH, "silu": SILU, "gelu": GELU,
    }.items()
}
