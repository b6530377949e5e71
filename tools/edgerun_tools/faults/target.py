"""The thing that is hit: one session of a preset, and what a run of it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import FaultError
from edgerun.executors.base import Finding
from edgerun_tools.faults.inputs import decision, scores_of

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Answer:
    """What one run came to. bits: all outputs and the exit, as bytes; answer: class, -1 for none; scores: what it was taken from; error:
    "" or what was raised."""

    bits: bytes = b""
    answer: int = -1
    values: tuple[np.ndarray, ...] = ()
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    findings: tuple[Finding, ...] = ()
    error: str = ""

    @property
    def alarmed(self) -> bool:
        """Whether a check spoke up."""
        return bool(self.findings)

    def behind(self, label: int) -> float:
        """How far the score of a class lies below the best other one, as a share of the largest; in [-1, 1], and 1 without an answer."""
        if self.error or self.answer < 0:
            return 1.0
        scores = self.scores.reshape(-1).astype(np.float64)
        ahead = float(np.delete(scores, label).max() - scores[label])
        return float(np.clip(ahead / (np.abs(scores).max() or 1.0), -1, 1))

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
    return Answer(bits, decision(result), values, scores_of(result), result.checks.findings)


def open_session(model: str | bytes, checks: str, settings: Mapping[str, Any]) -> Session:
    """A session for injections: one preset, threads decided once and for all."""
    return Session(model, checks=checks, tune=False, **settings)
