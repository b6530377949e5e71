"""docs/conformance.md: what the ONNX node tests say, by operator, as `python -m edgerun_tools.conformance --page` writes it.

The page depends on the outcomes and on the version of onnx alone, so that a second run writes the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

HEAD = """\
# Conformance: the ONNX node tests

Made by `python -m edgerun_tools.conformance --page docs/conformance.md` with onnx {onnx}; do not edit.

Every case is a model of one node (or of the function body of one) with inputs and expected outputs, by the ONNX project. **native**:
kernels of edgerun alone compute it, on both executors, or it is folded ahead of time. **fallback**: the outputs are right, but
onnx.reference computes a node, which `edgerun inspect` and a warning say. **failing**: an error, or other outputs. A case counts
as the worst of its executors ({executors}). *Implemented* are operators with a kernel or a rewrite into kernels.

| cases | all | native | fallback | failing |
|---|--:|--:|--:|--:|
| all | {all} |
| of implemented operators only | {covered} |
"""
STATUSES = ("native", "fallback", "failing")


class Outcome(Protocol):
    """What this module reads of conformance.Outcome."""

    @property
    def case(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def executor(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...


def worst(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """One outcome a case: of the executor that did worst."""
    found: dict[str, Outcome] = {}
    for o in outcomes:
        if o.case not in found or STATUSES.index(o.status) > STATUSES.index(found[o.case].status):
            found[o.case] = o
    return found


def page(outcomes: Sequence[Outcome], covered: Collection[str], onnx: str) -> str:
    """The page as Markdown. covered: names of the cases whose operators are all implemented."""
    by_case = worst(outcomes)
    executors = ", ".join(sorted({o.executor for o in outcomes}))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for o in by_case.values():
        counts[o.operator][o.status] += 1
    total = sum(counts.values(), Counter())
    within = Counter(o.status for o in by_case.values() if o.case in covered)
    lines = [HEAD.format(onnx=onnx, executors=executors, all=_cells(total), covered=_cells(within)), "## By operator", "",
             "| operator | cases | native | fallback | failing |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {op} | {_cells(counts[op])} |" for op in sorted(counts)]
    lines += ["", "## Failing", "", *_failing(by_case), "", "## Why the fallback", ""]
    return "\n".join([*lines, *_reasons(by_case)]) + "\n"


def _cells(counts: Mapping[str, int]) -> str:
    return " | ".join([str(sum(counts.values())), *(str(counts[s] or "") for s in STATUSES)])


def _failing(by_case: Mapping[str, Outcome]) -> list[str]:
    found = [f"- `{o.case}` ({o.operator}): {o.reason}" for o in by_case.values() if o.status == "failing"]
    return sorted(found) or ["None."]


def _reasons(by_case: Mapping[str, Outcome]) -> list[str]:
    """One row an operator: the reasons of its fallback cases, the most frequent first."""
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for o in by_case.values():
        if o.status == "fallback":
            reasons[o.operator].update({compressed(r) for r in o.reason.split("; ")})
    lines = ["The operator is the case's first; a reason names another one where that is what has no kernel.", "",
             "| operator | cases: reason |", "|---|---|"]
    for op in sorted(reasons):
        ranked = sorted(reasons[op].items(), key=lambda r: (-r[1], r[0]))
        lines.append(f"| {op} | {', '.join(f'{n}: {r.removeprefix(op + chr(58) + chr(32))}' for r, n in ranked)} |")
    return lines


def compressed(reason: str) -> str:
    """A reason without the names of values, which say nothing outside of the case."""
    return re.sub(r"(?<!domain )'[^']*' ", "", reason).replace("|", "/")
