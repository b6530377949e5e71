"""Where a fault can strike: what the executor lists, joined with what the plan says about each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgerun import Session
from edgerun_tools.faults.models import FLOW

SITES = {
    "result": "what a step computed, before it is checked", "accumulator": "sums of products, before bias and rescaling",
    "rescaled": "int8 results of rescaling", "buffer": "a step's output in memory, after it was checked",
    "weights": "packed weights", "constants": "other constants of the plan", "params": "parameters of a kernel",
    "checksum": "the sums and checksums that the checks compare with", **FLOW,
}
"""Site → what it is, in the order of reports."""


@dataclass(frozen=True)
class Place:
    """One site of one step: `elements` values of `bits` bits each (flow: `elements` ways to go wrong, 0 bits)."""

    site: str
    step: int
    elements: int
    bits: int
    node: str = ""
    op: str = ""
    kernel: str = ""

    @property
    def faults(self) -> int:
        """Different single faults that can strike here: bits, or ways to go wrong."""
        return self.elements * max(1, self.bits)

    @property
    def layer(self) -> str:
        """What people call the step."""
        return f"{self.step} {self.node or self.op}"


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


def of(session: Session) -> list[Place]:
    """The places of a session's plan."""
    steps = session.plan.steps
    return [Place(site, step, elements, bits, steps[step].node, steps[step].op, steps[step].kernel)
            for site, step, elements, bits in session.sites()]
