"""The outcomes as a table for people and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import onnx
from rich.markup import escape
from rich.table import Table

import edgerun
from edgerun_tools.common import answers

from . import corpus
from .runner import Limits, Outcome

SCHEMA = "edgerun.hostile/1"


def to_json(outcomes: Sequence[Outcome], limits: Limits) -> dict[str, Any]:
    """Limits, versions, totals, and every outcome with what its case is about."""
    ran = [o for o in outcomes if o.result != "skipped"]
    rows = [asdict(o) | {"passed": o.passed, "what": corpus()[o.case].what, "expected": corpus()[o.case].expected}
            for o in outcomes]
    return {"schema": SCHEMA, "version": edgerun.__version__, "onnx": onnx.__version__,
            "python": platform.python_version(), "limits": asdict(limits), "cases": len(ran),
            "passed": sum(o.passed for o in ran), "skipped": len(outcomes) - len(ran), "outcomes": rows}


def show(outcomes: Sequence[Outcome]) -> None:
    """One row a family; below, every case that did not pass, and the sum."""
    ran = [o for o in outcomes if o.result != "skipped"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("family")
    for name in ("cases", "typed errors", "right answers", "failed", "skipped", "longest s", "most MiB"):
        table.add_column(name, justify="right")
    for family in dict.fromkeys(o.family for o in outcomes):
        table.add_row(family, *_cells([o for o in outcomes if o.family == family]))
    table.add_section()
    table.add_row("all", *_cells(outcomes))
    answers.print(table)
    for o in outcomes:
        if o.result == "skipped":
            answers.print(f"[yellow]skipped[/yellow] {o.case}: {escape(o.message)}", soft_wrap=True)
        elif not o.passed:
            answers.print(f"[bold red]{o.result}[/bold red] {o.case}: {escape(corpus()[o.case].what)} "
                          f"[dim]{escape(_details(o))}[/dim]", soft_wrap=True)
    skipped = f", {len(outcomes) - len(ran)} skipped" if len(ran) < len(outcomes) else ""
    answers.print(f"[bold]{sum(o.passed for o in ran)} of {len(ran)}[/bold] hostile models ended in a typed error or a "
                  f"correct run within the limits{skipped}")


def _cells(outcomes: Sequence[Outcome]) -> list[str]:
    ran = [o for o in outcomes if o.result != "skipped"]
    counts = (len(ran), sum(o.result == "typed error" for o in ran), sum(o.result == "right answer" for o in ran),
              sum(not o.passed for o in ran), len(outcomes) - len(ran))
    longest = max((o.seconds for o in ran if o.seconds is not None), default=0.0)
    most = max((o.peak_mib for o in ran if o.peak_mib is not None), default=0.0)
    return [*(str(n or "") for n in counts), f"{longest:.2f}", f"{most:.0f}"]


def _details(o: Outcome) -> str:
    numbers = [f"{o.seconds:.2f} s"] * (o.seconds is not None) + [f"{o.peak_mib:.0f} MiB"] * (o.peak_mib is not None)
    return " · ".join([*numbers, *([": ".join(filter(None, (o.error, o.message)))] if o.error or o.message else [])])
