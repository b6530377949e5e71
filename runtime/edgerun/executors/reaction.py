"""What is done about findings where the executor itself does nothing: the whole run once more, then what on_fault says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgerun.executors.base import Executor, Finding, RawRun, fault_error


def run(executor: Executor, feeds: Sequence[np.ndarray], on_fault: str) -> RawRun:
    """One answer. Findings of the first attempt are marked "rerun", those that were there again permanent.

    Raises FaultError for "abort" and, since earlier exits are no safer here, for "exit-early"."""
    first = executor.run(feeds)
    if on_fault == "flag" or all(f.cured for f in first.findings):
        return first
    second = executor.run(feeds)
    before, stayed = _open(first.findings), _open(second.findings)
    mark = "reported" if on_fault in ("retry", "restrict") else "aborted"
    findings = (*(f if f.cured else replace(f, action="rerun", permanent=(f.step, f.node) in stayed) for f in first.findings),
                *(f if f.cured else replace(f, action=mark, permanent=(f.step, f.node) in before) for f in second.findings))
    if stayed and mark == "aborted":
        raise fault_error(f"operator {findings[-1].op}, node '{findings[-1].node}'", findings)
    return replace(second, findings=findings, elapsed_ns=first.elapsed_ns + second.elapsed_ns, reruns=first.reruns + second.reruns + 1,
                   steps_run=first.steps_run + second.steps_run, values_checked=first.values_checked + second.values_checked)


def _open(findings: Sequence[Finding]) -> set[tuple[int, str]]:
    return {(f.step, f.node) for f in findings if not f.cured}
