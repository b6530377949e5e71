"""What a run returns: the numbers, which exit gave them, and what was verified on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgerun.executors.base import Finding

JSON_VALUES = 1000
"""Outputs up to this many elements are written out in `Result.to_dict`; larger ones are summarised."""


@dataclass(frozen=True)
class ExitTaken:
    """Where the run stopped: `index` counts from 0 in the order of the model's exits, `of` is their number.
    A model without exits has one: index 0 of 1, named like its first output."""

    index: int
    of: int
    name: str

    @property
    def early(self) -> bool:
        return self.index + 1 < self.of


@dataclass(frozen=True)
class CheckReport:
    """What was verified: `mode` is Options.checks, `run` the number of values checked, `findings` what failed."""

    mode: str
    run: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the answer depends on nothing that failed: there are no findings, or they were cured (Finding.cured)."""
        return all(f.cured for f in self.findings)


@dataclass(slots=True)
class Result:
    """One run. Arrays belong to the caller: no later run changes them.

    outputs      computed outputs by name; those behind the exit that was taken are absent
    exit         the exit taken
    scores       [batch, classes] scores of that exit; None when the model does not declare exits or classes
    difficulty   the input's difficulty in [0, 1] (DART Eq. 8), None where it was not estimated
    latency_ms   wall time of the run in milliseconds: input checks, difficulty, decisions and computation
    checks       what was verified and found
    macs, macs_total   multiply-accumulates done, and those of a run to the last exit
    samples      batches on a model with exits run sample by sample: the result of each; `exit` is then the deepest
                 exit taken, `difficulty` the mean
    """

    outputs: dict[str, np.ndarray]
    exit: ExitTaken
    latency_ms: float
    checks: CheckReport
    scores: np.ndarray | None = None
    difficulty: float | None = None
    macs: int = 0
    macs_total: int = 0
    logits: bool = True
    labels: Sequence[str] = ()
    samples: tuple[Result, ...] = field(default=(), repr=False)

    @property
    def probabilities(self) -> np.ndarray | None:
        """[batch, classes] float64: softmax of the scores (or the scores, where the model applies it itself)."""
        if self.scores is None:
            return None
        s = self.scores.astype(np.float64).reshape(len(self.scores), -1)
        if not self.logits:
            return s
        return softmax(s)

    @property
    def top(self) -> list[tuple[str, float]]:
        """(label, probability) of the first sample, most probable first, at most 5; empty when no classes are known."""
        return self.best(5)

    def best(self, count: int, sample: int = 0) -> list[tuple[str, float]]:
        """The `count` most probable (label, probability) pairs of one sample; without labels, class numbers."""
        p = self.probabilities
        if p is None:
            return []
        order = np.argsort(-p[sample], kind="stable")[:count]
        return [(self.label(int(k)), float(p[sample, k])) for k in order]

    def label(self, number: int) -> str:
        return self.labels[number] if number < len(self.labels) else str(number)

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """The JSON form, schema "edgerun.run/1" (docs/cli.md). Non-finite numbers become null."""
        out: dict[str, Any] = {
            "schema": "edgerun.run/1",
            "top": [{"label": label, "probability": _number(p)} for label, p in self.best(top)],
            "exit": {"index": self.exit.index, "of": self.exit.of, "name": self.exit.name},
            "difficulty": None if self.difficulty is None else _number(self.difficulty),
            "latency_ms": round(self.latency_ms, 4),
            "checks": {"mode": self.checks.mode, "run": self.checks.run,
                       "findings": [describe(f) for f in self.checks.findings]},
            "macs": {"done": self.macs, "total": self.macs_total},
            "outputs": {name: summary(a) for name, a in self.outputs.items()},
        }
        if self.samples:
            out["samples"] = [s.to_dict(top) for s in self.samples]
        return out


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last dimension."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = e / e.sum(axis=-1, keepdims=True)
    return probabilities


def summary(a: np.ndarray) -> dict[str, Any]:
    """dtype, shape, range and (up to JSON_VALUES elements) the data of an array, ready for JSON."""
    out: dict[str, Any] = {"dtype": str(a.dtype), "shape": list(a.shape)}
    if a.size and (np.issubdtype(a.dtype, np.number) or a.dtype == np.bool_):
        finite = np.isfinite(a)
        out["finite"] = bool(finite.all())
        if finite.any():
            kept = a[finite].astype(np.float64)
            out |= {"min": float(kept.min()), "max": float(kept.max()), "mean": float(kept.mean())}
    if a.size <= JSON_VALUES:
        out["data"] = _plain(a.tolist())
    return out


def describe(finding: Finding) -> dict[str, Any]:
    """A finding as plain JSON values."""
    fields: Mapping[str, Any] = {k: getattr(finding, k) for k in finding.__dataclass_fields__}
    return {k: _plain(v.item() if isinstance(v, np.generic) else v) for k, v in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return _number(value)
    return value if isinstance(value, (int, str, bool)) or value is None else str(value)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
