"""Checks "maed-paper": the identities that MAED published, on the kernels that have one, for comparison with our own.

Activations stay steps of their own (no fusion, and SiLU stays x·sigmoid(x)), since the published checks are of single functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgerun.errors import PlanError

from .plan import Check, Floats, Ints, Step

MODE = "maed-paper"
"""Among the kinds of edgerun.options."""
BOUNDS = {"relu_f32": 0.0, "sigmoid_f32": 1e-6, "tanh_f32": 1e-6, "exp_f32": 1e-6}
"""Kernel → absolute bound of its published identity."""
APART = ("patterns", "hoist", "activation")
"""Passes left out: they make one step of an activation and what is around it."""
HINT: dict[str, Ints | Floats] = {"paper": (1,)}
"""Attribute of these kernels that selects the published identity."""


def paper_of(kernel: str) -> tuple[Check, ...]:
    """The published identity that a step's kernel verifies when asked to."""
    return (Check("maed_paper", BOUNDS[kernel]),) if kernel in BOUNDS else ()


def check_apart(steps: Sequence[Step]) -> None:
    """PlanError where an activation is fused: its published identity could not be verified."""
    for step in steps:
        if any(step.attrs.get("activation", ())):
            raise PlanError(f"checks {MODE}: {step.op}, node '{step.node}': expected activations in steps of their own, found one fused; "
                            f"make the plan with checks={MODE!r}")
