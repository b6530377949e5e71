"""What `edgerun compare` prints: a table for people, an object for scripts."""

from __future__ import annotations

import math
from typing import Any

from rich.markup import escape
from rich.table import Table

from edgerun_tools.common import answers, errors
from edgerun_tools.compare_layers import Report, Row

SCHEMA = "edgerun.compare/1"
WIDTH = 34
"""Columns of a name in the table."""


def to_dict(report: Report) -> dict[str, Any]:
    """The report as JSON values; numbers that are not finite are null."""
    rows = [_row(r) for r in report.rows]
    first = report.first
    return {
        "schema": SCHEMA, "model": report.model, "with": report.other, "executor": report.ours.session.executor_name,
        "isolated": report.isolated, "inputs": report.inputs, "tolerance": report.bounds.tolerance, "steps": report.bounds.steps,
        "differs": first is not None, "first": None if first is None else _row(first),
        "outputs": [r for r in rows if r["output"]], "layers": rows,
        "suspects": report.suspects, "unseen_steps": report.unseen,
        "left_out": [{"tensor": n, "reason": why} for n, why in report.left_out.items()],
        "reproduced": report.reproduced, "findings": report.ours.findings,
    }


def _row(r: Row) -> dict[str, Any]:
    d = r.difference
    return {"step": r.step, "node": r.node, "op": r.op, "kernel": r.kernel, "tensor": r.tensor, "dtype": str(d.dtype),
            "shape": list(d.shape), "max_abs": _finite(d.max_abs), "max_rel": _finite(d.max_rel),
            "steps": None if r.steps is None else _finite(r.steps), "differing": d.differing, "bound": r.bound,
            "within": r.within, "output": r.output, "other": d.other or None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def show(report: Report) -> None:
    """The table, then one line that says which layer differs first."""
    more = f" and {len(report.inputs) - 3} more" if len(report.inputs) > 3 else ""
    apart = ", every layer by itself" if report.isolated else ""
    answers.print(f"{escape(report.model)} ({report.ours.session.executor_name} executor) against {escape(report.other)}"
                  f"{apart}; input: {escape('; '.join(report.inputs[:3]))}{more}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("step", "node", "operator", "tensor", "shape", "max abs", "max rel", "steps", "differing", ""):
        side: Any = "left" if name in ("node", "operator", "tensor", "shape", "") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for r in report.rows:
        d = r.difference
        cells = [str(r.step), escape(_short(r.node)), escape(_short(r.op)), escape(_short(r.tensor)),
                 "x".join(map(str, d.shape)) or "scalar", f"{d.max_abs:.2e}", f"{d.max_rel:.1e}",
                 "" if r.steps is None else f"{r.steps:.4g}", f"{100 * d.differing:.3g} %",
                 ("output " if r.output else "") + ("" if r.within else "differs")]
        table.add_row(*cells, style="bold red" if r is report.first else None if r.within else "red")
    answers.print(table)
    answers.print(_verdict(report), soft_wrap=True)
    _notes(report)


def _verdict(report: Report) -> str:
    first = report.first
    if first is None:
        worst = max(report.rows, key=lambda r: r.difference.max_rel)
        much = f"{worst.difference.max_rel:.1e} of the tensor's scale" + (f", {_steps(worst.steps)}" if worst.steps else "")
        return (f"no layer differs: {len(report.rows)} tensors of {len(report.ours.plan.steps)} steps, largest difference "
                f"{much} (step {worst.step}, {escape(worst.tensor)})")
    d = first.difference
    if d.other:
        found = f"ours is {d.dtype}{list(d.shape)}, theirs {d.other}"
    elif d.integral:
        found = f"{_steps(d.max_abs)}; bound {first.bound:g}"
    else:
        known = "" if first.steps is None else f" or {_steps(first.steps)} of its quantisation"
        found = f"max abs {d.max_abs:.3g}, {d.max_rel:.2g} of the tensor's scale{known}; bound {first.bound:.2g}"
    return (f"[bold red]first layer that differs:[/bold red] step {first.step}, {escape(first.op)} "
            f"'{escape(first.node or first.tensor)}', tensor '{escape(first.tensor)}' ({found})")


def _steps(count: float) -> str:
    return f"{count:.4g} {'step' if round(count, 3) == 1 else 'steps'}"


def _notes(report: Report) -> None:
    """What the table cannot tell."""
    if report.suspects:
        answers.print(f"the cause may also be step {', '.join(map(str, report.suspects))}: the model has no tensor for "
                      "what these leave behind (edgerun inspect lists the steps)", soft_wrap=True)
    if report.unseen:
        answers.print(f"{len(report.unseen)} of {len(report.ours.plan.steps)} steps leave no tensor of the model behind, "
                      "and show only in later ones", soft_wrap=True)
    if report.left_out:
        name, why = next(iter(report.left_out.items()))
        answers.print(f"{len(report.left_out)} tensors were not compared; {escape(name)}: {escape(why)}", soft_wrap=True)
    if not report.reproduced:
        errors.print("[yellow]warning:[/yellow] with the tensors handed out, the model's outputs changed: something "
                     "depends on where tensors lie in memory; the table may miss it", soft_wrap=True)
    if report.ours.findings:
        errors.print(f"[bold red]{report.ours.findings} check findings[/bold red] in a run: see edgerun run with the same "
                     "input", soft_wrap=True)


def _short(name: str) -> str:
    """Both ends of a long name: exporters put what tells names apart at either."""
    half = (WIDTH - 1) // 2
    return name if len(name) <= WIDTH else f"{name[:half]}…{name[-half:]}"
