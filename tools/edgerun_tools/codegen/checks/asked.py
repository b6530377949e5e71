"""Which checks a plan asks for, what is done about a finding, and the parts of the kernels that they switch on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgerun.errors import OptionError
from edgerun.executors.guarding import asks
from edgerun.options import CHECKS
from edgerun.planner.checks import INT8
from edgerun.planner.plan import Plan, Step

KINDS: Mapping[str, int] = {name: k + 1 for k, name in enumerate(CHECKS)}
"""Kind of check → its number in the report (first_check), from 1."""
REACTIONS = ("flag", "retry", "abort")
"""Those of edgerun.options.REACTIONS that generated C has."""
TRIES = 1
"""How often a step is computed again before the fault counts as permanent."""
SWITCHES = ("ER_CHECKED", "ER_MAED", "ER_ABFT", "ER_RANGE", "ER_TWICE")
"""Parts of the kernels' files between `#if NAME` and `#endif`; fragments.py settles them."""


@dataclass(frozen=True)
class Asked:
    """kinds: all that any step asks for; twice: whether the rescaling of int8 sums is verified; reaction: one of REACTIONS."""

    kinds: frozenset[str]
    twice: bool
    reaction: str

    @property
    def switches(self) -> dict[str, bool]:
        """ER_… → whether it is on."""
        return {"ER_CHECKED": bool(self.kinds), "ER_MAED": "maed" in self.kinds, "ER_ABFT": "abft" in self.kinds,
                "ER_RANGE": "range" in self.kinds, "ER_TWICE": self.twice}

    @property
    def tries(self) -> int:
        return 0 if self.reaction == "flag" else TRIES


def verifies_rescaling(step: Step) -> bool:
    """Whether the bytes that an int8 product makes of its sums are to be verified."""
    return step.kernel in INT8 and asks(step, "maed")


def of_plan(plan: Plan, reaction: str) -> Asked:
    """What a plan's steps ask for. OptionError for a reaction that generated C has not."""
    if reaction not in REACTIONS:
        raise OptionError(f"--on-fault: expected one of {', '.join(REACTIONS)}; found {reaction!r}, which needs the engine")
    kinds = {c.kind.replace("_", "-") for s in plan.steps for c in s.checks}
    if "maed-paper" in kinds:
        raise OptionError("--checks: expected checks that raise no false alarms; found maed-paper, which is for comparisons by the engine")
    return Asked(frozenset(kinds), any(verifies_rescaling(s) for s in plan.steps), reaction)
