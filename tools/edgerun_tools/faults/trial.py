"""One injection and its class.

Exactly one of CLASSES. An alarm counts only where the caller can see it: a finding, or an abort. A run that reports a repair and hands out
another answer than the clean one is silent corruption (`miscorrected`), not a detection. A fault that stays (weights, constants,
parameters, stored sums, stuck bits) is watched over further runs on other inputs until something speaks up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgerun import Session
from edgerun.errors import EdgeRunError
from edgerun.executors.base import MEMORY_SITES, Fault
from edgerun_tools.faults.models import FLOW, FOREVER, Planned
from edgerun_tools.faults.target import Answer, Feeds, observe

MASKED, DETECTED, LATE, CORRECTED, CRITICAL, TOLERABLE, DUE = CLASSES = (
    "masked", "detected", "detected_late", "corrected", "sdc_critical", "sdc_tolerable", "due")
"""masked: outputs as without the fault, and no alarm. detected: an alarm in the run that was hit. detected_late: an alarm in one of the
runs after it. corrected: an alarm, and the outputs equal the clean ones bit for bit after a repair. sdc_critical: top-1 differs, no
alarm. sdc_tolerable: outputs differ, top-1 does not, no alarm. due: crash, error or hang."""
STAYING = frozenset({*MEMORY_SITES, "checksum"})
"""Sites whose faults last until they are restored or healed."""
STALE = frozenset({"params", *FLOW})
"""Sites whose faults may leave results of the run before in memory: that run is made the same one every time."""


@dataclass(frozen=True)
class Outcome:
    """What a fault came to under one preset. Defaults are left out of results.

    check: kind of the first finding, fired: all kinds in order; step: of the first finding; run: 0 for the run that was hit, 1… for
    those after it; action: of the first finding; left: class of what went out before a late alarm; difference: largest change of an
    output value that went out; error: what was raised, or the signal; absent: this preset has no such place; harmless: alarm without a
    repair, and the outputs are right; miscorrected: a repair was reported, and the outputs are wrong; permanent: a finding says so.
    """

    outcome: str
    check: str = ""
    fired: str = ""
    step: int = -1
    run: int = 0
    action: str = ""
    left: str = ""
    difference: float = 0.0
    error: str = ""
    absent: bool = False
    harmless: bool = False
    miscorrected: bool = False
    permanent: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What is not a default; an infinite difference as the string "inf", which JSON lacks."""
        fields = {k: v for k, v in vars(self).items() if k == "outcome" or v != self.__dataclass_fields__[k].default}
        return {k: "inf" if v == float("inf") else v for k, v in fields.items()}

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_dict`."""
        told: dict[str, Any] = {k: float(v) if k == "difference" else v for k, v in fields.items()}
        return Outcome(**told)


@dataclass(frozen=True)
class Target:
    """A session of one preset, the inputs and what it answers to them without faults."""

    session: Session
    inputs: Sequence[Feeds]
    golden: Sequence[Answer]

    def clean(self, number: int) -> tuple[bool, int]:
        """A run without faults on one input: whether the outputs are right, and how many findings there were."""
        found = observe(self.session, self.inputs[number])
        return found.bits == self.golden[number].bits and not found.error, len(found.findings)

    def trial(self, fault: Planned, later: int) -> Outcome:
        """Inject, run, watch, heal. later: runs after the one that was hit, for faults that stay."""
        count = len(self.inputs)
        self.session.heal()
        if fault.site in STALE:
            observe(self.session, self.inputs[(fault.input + 1) % count])
        try:
            self.session.inject(Fault(fault.site, fault.step, fault.index, fault.mask or 1, fault.mode, fault.runs))
        except EdgeRunError:
            return Outcome(MASKED, absent=True)
        stays = fault.site in STAYING or fault.runs == FOREVER
        try:
            return self._watch(fault.input, 1 + later if stays else 1)
        finally:
            self.session.heal()

    def damage(self, fault: Planned, inputs: int) -> float:
        """How far a fault makes the clean answer fall behind the best other one, as a share of the largest score; at most 1 an input."""
        self.session.inject(Fault(fault.site, fault.step, fault.index, fault.mask, fault.mode, fault.runs))
        try:
            pairs = zip(self.inputs[:inputs], self.golden, strict=False)
            return sum(observe(self.session, feeds).behind(golden.answer) for feeds, golden in pairs)
        finally:
            self.session.heal()

    def _watch(self, first: int, runs: int) -> Outcome:
        """The run that was hit and those after it, up to the first alarm or error; then everything in memory is looked through."""
        worst = Outcome(MASKED)
        for run in range(runs):
            number = (first + run) % len(self.inputs)
            found = judge(observe(self.session, self.inputs[number]), self.golden[number], run)
            if found.outcome in (DETECTED, CORRECTED):
                return found if run == 0 else late(found, worst)
            if found.outcome == DUE:
                return found
            if _WEIGHT[found.outcome] > _WEIGHT[worst.outcome]:
                worst = found
        swept = Answer(findings=self.session.scrub(), error="abort") if runs > 1 else Answer()
        return late(judge(swept, self.golden[first], runs), worst) if swept.findings else worst


def late(alarm: Outcome, before: Outcome) -> Outcome:
    """The class of a fault that was reported in a later run, `before` being the worst that had gone out until then."""
    return replace(alarm, outcome=LATE, left=before.outcome, difference=before.difference, harmless=False)


_WEIGHT = {MASKED: 0, TOLERABLE: 1, CRITICAL: 2}


def judge(answer: Answer, golden: Answer, run: int = 0) -> Outcome:
    """One run's class, from what the caller of the runtime gets to see and from the clean answer."""
    same = answer.bits == golden.bits and not answer.error
    if answer.error and answer.error != "abort":
        return Outcome(DUE, run=run, error=answer.error)
    if not answer.findings and answer.error != "abort":
        if same:
            return Outcome(MASKED)
        return Outcome(CRITICAL if answer.answer != golden.answer else TOLERABLE, run=run, difference=answer.difference(golden))
    repaired = bool(answer.findings) and all(f.cured for f in answer.findings)
    what: dict[str, Any] = {"fired": "+".join(dict.fromkeys(f.check for f in answer.findings)), "run": run,
            "permanent": any(f.permanent for f in answer.findings)}
    if answer.findings:
        what |= {"check": answer.findings[0].check, "step": answer.findings[0].step, "action": answer.findings[0].action}
    if repaired and same:
        return Outcome(CORRECTED, **what)
    if repaired:
        return Outcome(CRITICAL if answer.answer != golden.answer else TOLERABLE, difference=answer.difference(golden),
                       miscorrected=True, **what)
    return Outcome(DETECTED, difference=0.0 if same or answer.error else answer.difference(golden), harmless=same, **what)
