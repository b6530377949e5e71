"""What a run with a fault counts as."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from edgerun.executors.base import Finding
from edgerun_tools.faults import tables
from edgerun_tools.faults.bundle import CLEAN_EVERY, Bench, assemble
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.target import Answer
from edgerun_tools.faults.trial import CLASSES, LATE, Outcome, judge, late

GOLDEN = np.array([[1.0, 3.0, 2.0]], np.float32)


def answer(values=GOLDEN, findings=(), error=""):
    scores = np.asarray(values, np.float32).reshape(-1)
    decided = int(scores.argmax()) if np.isfinite(scores).all() else -1
    return Answer(b"" if error else scores.tobytes(), decided, (scores,), scores, tuple(findings), error)


def found(action="reported", check="abft", step=4):
    return Finding(step, "conv", "Conv", "conv2d_f32", check, 0, math.nan, math.nan, 0.0, action)


CLOSE, WRONG = [1.0, 3.5, 2.0], [9.0, 3.0, 2.0]


@pytest.mark.parametrize(("run", "expected"), [
    (answer(), "masked"),
    (answer(CLOSE), "sdc_tolerable"),
    (answer(WRONG), "sdc_critical"),
    (answer([1.0, np.nan, 2.0]), "sdc_critical"),
    (answer(WRONG, [found()]), "detected"),
    (answer(GOLDEN, [found()]), "detected"),
    (answer(GOLDEN, [found("corrected")]), "corrected"),
    (answer(GOLDEN, [found("restored"), found("rerun", "buffers")]), "corrected"),
    (answer(WRONG, [found("corrected"), found()]), "detected"),
    (answer(WRONG, [found("corrected")]), "sdc_critical"),
    (answer(CLOSE, [found("rerun")]), "sdc_tolerable"),
    (answer(error="InputError"), "due"),
    (answer(error="abort"), "detected"),
], ids=range(13))
def test_every_run_has_one_class(run, expected):
    outcome = judge(run, answer())
    assert outcome.outcome == expected
    assert outcome.outcome in CLASSES
    assert Outcome.of(outcome.to_dict()) == outcome


def test_the_first_finding_is_the_one_that_spoke():
    outcome = judge(answer(WRONG, [found(step=2), found(check="flow", step=5)]), answer())
    assert (outcome.check, outcome.step, outcome.fired) == ("abft", 2, "abft+flow")


def test_an_alarm_about_nothing_is_told_apart():
    assert judge(answer(GOLDEN, [found()]), answer()).harmless
    assert not judge(answer(CLOSE, [found()]), answer()).harmless


def test_a_repair_that_is_none_is_corruption():
    assert judge(answer(WRONG, [found("corrected")]), answer()).miscorrected


def test_a_difference_that_is_not_finite_is_written_as_json_can():
    outcome = judge(answer([1.0, np.inf, 2.0]), answer())
    assert outcome.to_dict()["difference"] == "inf"
    assert Outcome.of(outcome.to_dict()).difference == math.inf


def test_late_alarms_say_what_had_gone_out():
    outcome = late(judge(answer(WRONG, [found()]), answer(), 3), judge(answer(CLOSE), answer()))
    assert (outcome.outcome, outcome.left, outcome.run, outcome.difference) == (LATE, "sdc_tolerable", 3, 0.5)


def row(number, off, full, **told):
    base = {"id": number, "site": "weights", "step": 0, "model": "bit", "bit": 3, "runs": 1}
    return base | told | {"out": {"off": off, "full": full}}


WEIGHTS = {"check": "weights", "fired": "weights"}
ROWS = [
    row(0, {"outcome": "masked"}, {"outcome": "detected", "check": "abft", "fired": "abft", "step": 0, "harmless": True}),
    row(1, {"outcome": "sdc_critical"}, {"outcome": "corrected", "check": "abft", "fired": "abft", "step": 2}),
    row(2, {"outcome": "sdc_critical"}, {"outcome": "sdc_critical"}),
    row(3, {"outcome": "due", "error": "SIGSEGV"}, {"outcome": "detected", "check": "flow", "fired": "flow+abft", "step": 1}),
    row(4, {"outcome": "sdc_tolerable"}, {"outcome": "detected_late", "left": "sdc_tolerable", "run": 2} | WEIGHTS),
    row(5, {"outcome": "masked"}, {"outcome": "detected_late", "left": "masked", "run": 1} | WEIGHTS),
    row(6, {"outcome": "sdc_critical"}, {"outcome": "masked", "absent": True}),
    row(7, {"outcome": "masked"}, {"outcome": "sdc_critical"}),
]


def counted(which):
    v = tables.coverage(tables.pairs(ROWS, "full"), 0.95)[which]
    return v["hits"], v["trials"]


def test_coverage_counts_what_it_says():
    pytest.importorskip("scipy")
    assert counted("own") == (3, 7)  # ids 0 1 3 of all but 6
    assert counted("own_with_late") == (5, 7)
    assert counted("effective") == (2, 5)  # 1 3 of 1 2 3 4 7: harmless alarms count nowhere, damage done here counts
    assert counted("effective_with_late") == (3, 5)
    assert counted("critical") == (2, 4)  # 1 3 of 1 2 3 7


def test_a_check_counts_for_what_it_alone_reported():
    pytest.importorskip("scipy")
    checks = tables.contributions(tables.pairs(ROWS, "full"), 0.95)
    assert (checks["abft"]["first"], checks["abft"]["fired"], checks["abft"]["alone"]) == (2, 3, 2)
    assert (checks["abft"]["without"]["hits"], checks["abft"]["without"]["trials"]) == (1, 4)
    assert checks["flow"]["without"]["hits"] == 2  # abft had seen it, too


def test_what_is_missed_is_listed():
    pytest.importorskip("scipy")
    (entry,) = tables.missed(tables.pairs(ROWS, "full"), 0.95)
    assert (entry["site"], entry["model"], entry["missed"]["hits"], entry["missed"]["trials"]) == ("weights", "bit", 2, 4)


class Spoilt:
    """A target whose fault spoils what healing does not restore: findings come, and they are true."""

    right = False

    def trial(self, fault, later):
        return Outcome("detected")

    def clean(self, number):
        return self.right, 11


@pytest.mark.parametrize("right", [False, True])
def test_a_run_that_answers_wrong_is_no_clean_run(right):
    """…so its findings are no false alarms; where the answer is right they are."""
    bench = Bench.__new__(Bench)
    target = Spoilt()
    target.right = right
    bench.targets, bench.bundle, bench._stained = {"full": target}, SimpleNamespace(later=0, inputs=(0, 1)), False
    fault = Planned(CLEAN_EVERY, "params", 4, 40, 1 << 15, "flip", 1, "bit", 15, 0)
    row = assemble(fault, {"full": bench.trial(fault, "full"), "off": {"outcome": {"outcome": "due"}}})
    assert row["clean"] == ({"full": 11} if right else {})
    assert bench._stained is not right
