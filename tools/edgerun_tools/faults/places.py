"""Where a fault can strike: what the executor lists, in values of the width that lies there, with what the plan says of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgerun import Session
from edgerun.executors.base import KERNEL_SITES
from edgerun.planner.plan import ABSENT, DTYPES, Plan, Step
from edgerun_tools.faults.models import FLOW

SITES = {
    "result": "what a step computed, before it is checked", "accumulator": "sums of products, before bias and rescaling",
    "rescaled": "integer sums after rescaling", "buffer": "a step's outputs in memory, after they were checked",
    "input": "a step's operands in memory, when it begins", "weights": "packed weights", "constants": "other constants",
    "params": "parameters of a kernel: sizes, strides, bounds", "checksum": "the sums that the checks compare with", **FLOW,
}
"""Site → what it is, in the order of reports."""
WORD = 4
"""Bytes of a value where nothing says otherwise."""


@dataclass(frozen=True)
class Place:
    """One site of one step: `elements` values of `bits` bits each (flow: `elements` ways to go wrong, 0 bits). stride: how far the
    indices of two neighbouring values lie apart (`Fault.index` counts bytes in memory)."""

    site: str
    step: int
    elements: int
    bits: int
    node: str = ""
    op: str = ""
    kernel: str = ""
    stride: int = 1

    @property
    def faults(self) -> int:
        """Different single faults that can strike here: bits, or ways to go wrong."""
        return self.elements * max(1, self.bits)


def of(session: Session) -> list[Place]:
    """The places of a session's plan."""
    plan = session.plan
    return [_place(plan, k, step, site, size) for k, (step, sizes) in enumerate(zip(plan.steps, session.sites(), strict=True))
            for site, size in sizes.items()]


def _place(plan: Plan, number: int, step: Step, site: str, size: int) -> Place:
    told = step.node, step.op, step.kernel
    if site in FLOW:
        return Place(site, number, size, 0, *told)
    width = _width(plan, step, site)
    if site in KERNEL_SITES:
        return Place(site, number, size, 8 * width, *told)
    width = min(width, size)
    return Place(site, number, size // width, 8 * width, *told, width)


def _width(plan: Plan, step: Step, site: str) -> int:
    """Bytes of a value at a site."""
    slots = {"result": step.outputs, "buffer": step.outputs, "input": step.inputs, "constants": step.inputs}.get(site, ())
    fitting = [plan.slots[k] for k in slots if k != ABSENT and (plan.slots[k].place == "const") == (site == "constants")]
    if fitting:
        return DTYPES[fitting[0].dtype].itemsize
    if site == "weights" and not step.kernel.endswith("_f32"):
        return 1
    return WORD


def covering(listed: Sequence[Sequence[Place]]) -> list[Place]:
    """The places of several plans of one model (one a preset): each once, as large as the largest; by site, then step."""
    found: dict[tuple[str, int], Place] = {}
    for place in (p for places in listed for p in places):
        key = place.site, place.step
        if key not in found or found[key].faults < place.faults:
            found[key] = place
    rank = {site: k for k, site in enumerate(SITES)}
    return sorted(found.values(), key=lambda p: (rank.get(p.site, len(rank)), p.site, p.step))


def to_rows(places: Sequence[Place]) -> list[dict[str, Any]]:
    """Plain JSON values, for `inject --list --json`, the plan of a campaign and its report."""
    return [{**vars(p), "faults": p.faults} for p in places]
