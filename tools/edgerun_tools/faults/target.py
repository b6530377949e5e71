"""The thing that is hit: one session of a preset, and what a run of it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import FaultError
from edgerun.executors.base import Finding
from edgerun.options import Options
from edgerun_tools.faults.inputs import decision

Feeds = Mapping[str, np.ndarray]
REPAIRED = frozenset({"corrected", "restored", "rerun"})
"""Actions after which the answer is meant to be the right one."""


@dataclass(frozen=True)
class Answer:
    """What one run came to. bits: all outputs and the exit, as bytes; answer: class, -1 for none; error: "" or what was raised."""

    bits: bytes = b""
    answer: int = -1
    values: tuple[np.ndarray, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: str = ""

    @property
    def alarmed(self) -> bool:
        """Whether a check spoke up."""
        return bool(self.findings)

    def difference(self, golden: Answer) -> float:
        """Largest difference of any output value; infinite where one is not finite or outputs are missing."""
        if len(self.values) != len(golden.values) or any(a.shape != b.shape for a, b in zip(self.values, golden.values, strict=True)):
            return float("inf")
        with np.errstate(all="ignore"):
            apart = [np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in zip(self.values, golden.values, strict=True) if a.size]
        worst = max((float(a.max()) for a in apart), default=0.0)
        return worst if np.isfinite(worst) else float("inf")


def observe(session: Session, feeds: Feeds) -> Answer:
    """One run as an Answer. Errors that a fault can cause are part of it; aborting because of a fault is a detection."""
    try:
        result = session.run(feeds)
    except FaultError as e:
        return Answer(findings=tuple(e.findings), error="abort")
    except Exception as e:  # whatever a fault may break: that is what is being counted
        return Answer(error=type(e).__name__)
    values = tuple(result.outputs.values())
    bits = b"".join([bytes([result.exit.index]), *(np.ascontiguousarray(v).tobytes() for v in values)])
    return Answer(bits, decision(result), values, result.checks.findings)


def open_session(model: str | bytes, checks: str, settings: Mapping[str, Any]) -> Session:
    """A session for injections: one preset, threads decided once and for all."""
    known = {k: v for k, v in settings.items() if k != "on_fault" or k in Options.__dataclass_fields__}
    return Session(model, checks=checks, tune=False, **known)
