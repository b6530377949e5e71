"""Checks of a finished plan, switched on or off: a plan-to-plan pass."""

from __future__ import annotations

from edgerun.planner.plan import Plan
from edgerun.planner.protect import protect


def annotate(plan: Plan, mode: str) -> Plan:
    """The same plan with the checks of `mode`: a preset ("off", "maed", "standard", "full") or a list of kinds ("maed,abft").

    Raises OptionError for another mode."""
    return protect(plan, mode)
