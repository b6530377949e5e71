"""Checks of a finished plan, switched on or off: a plan-to-plan pass."""

from __future__ import annotations

from dataclasses import replace

from edgerun.errors import PlanError
from edgerun.planner.checks import MODES, checks_of
from edgerun.planner.plan import Plan


def annotate(plan: Plan, mode: str) -> Plan:
    """The same plan with the checks of `mode` ("off" or "maed") on its steps. Raises PlanError for another mode."""
    if mode not in MODES:
        raise PlanError(f"checks: expected one of {', '.join(MODES)}; found {mode!r}")
    return replace(plan, steps=tuple(replace(s, checks=checks_of(s.kernel, s.attrs, mode)) for s in plan.steps))
