"""firmware.json for C that was generated from a plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError
from edgerun.planner.plan import DTYPES, Plan, Port
from edgerun_tools.boards.manifest import NAME, SCHEMA

REPORT = ("exit_taken", "checks_passed", "faults", "recomputed", "first_step", "first_check")
"""Fields of <prefix>_report."""


def describe(prefix: str, target: str, plan: Plan, *, arena_bytes: int | None = None,
             outputs: Sequence[Port] | None = None) -> dict[str, Any]:
    """What firmware.json says of <prefix>.c and <prefix>.h, which have <prefix>_run, <prefix>_selftest and <prefix>_report.
    outputs: those that run has parameters for; None: the plan's."""
    return {
        "schema": SCHEMA, "prefix": prefix, "target": target, "sources": [f"{prefix}.c"], "header": f"{prefix}.h",
        "run": {"symbol": f"{prefix}_run", "returns": "int", "arguments": ["inputs", "outputs", "report"]},
        "report": {"type": f"{prefix}_report", "fields": list(REPORT)}, "selftest": f"{prefix}_selftest",
        "inputs": _tensors(plan, plan.inputs), "outputs": _tensors(plan, plan.outputs if outputs is None else outputs),
        "exits": [e.name for e in plan.exits], "macs": plan.macs, "arena_bytes": plan.arena_bytes if arena_bytes is None else arena_bytes,
        "steps": [{"kernel": s.kernel, "operator": s.op, "node": s.node, "macs": s.macs} for s in plan.steps]}


def write(folder: str | Path, facts: dict[str, Any]) -> Path:
    """Write a manifest into a folder; OptionError where that cannot be."""
    path = Path(folder) / NAME
    try:
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as e:
        raise OptionError(f"{path}: expected a file that can be written; found: {e}") from e
    return path


def _tensors(plan: Plan, ports: Sequence[Port]) -> list[dict[str, Any]]:
    return [{"name": p.name, "dtype": DTYPES[plan.slots[p.slot].dtype].name, "shape": list(plan.slots[p.slot].shape)} for p in ports]
