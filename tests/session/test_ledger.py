"""What a session tells about its findings: counters, callback, log; and what the options for it accept."""

from __future__ import annotations

import json
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun.errors import EdgeRunWarning, FaultError, FaultWarning, OptionError
from edgerun.executors import engine
from edgerun.executors.base import Fault
from edgerun.ledger import Counters, FaultLog
from edgerun.options import Options

EXECUTORS = [pytest.param("engine", marks=pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")), "python"]


@pytest.fixture
def image():
    return np.random.default_rng(5).standard_normal((1, 1, 4, 4)).astype(np.float32)


def struck(session: edgerun.Session, runs: int = 1) -> Fault:
    """A fault in the first convolution's result."""
    step = next(k for k, s in enumerate(session.plan.steps) if s.kernel.startswith("conv"))
    fault = Fault("result", step, 3, 1 << 30, runs=runs)
    session.inject(fault)
    return fault


@pytest.mark.parametrize(("checks", "reaction"), [
    ("off", "flag"), ("maed", "flag"), ("maed,maed", "flag"), ("abft", "retry"), ("standard", "retry"), ("full", "retry")])
def test_what_is_done_by_default_depends_on_the_checks(checks, reaction):
    assert Options(checks=checks).reaction == reaction
    assert Options(checks=checks, on_fault="abort").reaction == "abort"


@pytest.mark.parametrize(("option", "message"), [
    ({"on_fault": "panic"}, "on_fault: expected one of flag, retry, abort, exit-early, restrict; found 'panic'"),
    ({"fault_log": 3}, "fault_log: expected the path of a file"),
    ({"fault_log": "/nowhere/at/all.jsonl"}, "fault_log: expected a file that can be appended to"),
    ({"on_finding": 3}, "on_finding: expected a function"),
])
def test_wrong_options_are_refused(exit_bytes, option, message):
    with pytest.raises(OptionError, match=message):
        edgerun.Session(exit_bytes, **option)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_corrected_fault_leaves_the_answer_and_is_counted(exit_bytes, image, executor):
    with edgerun.Session(exit_bytes, executor=executor, on_fault="retry") as session:
        clean = session.run(image)
        struck(session)
        result = session.run(image)
        assert result.checks.ok and len(result.checks.findings) == 1
        action = result.checks.findings[0].action
        assert action == ("corrected" if executor == "engine" else "rerun")
        assert all(np.array_equal(a, clean.outputs[n]) for n, a in result.outputs.items())
        assert session.counters == Counters(2, {"maed": 1}, int(action == "corrected"), 0, int(action == "rerun"), 0, 0)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_permanent_fault_is_reported_or_aborts(exit_bytes, image, executor):
    with edgerun.Session(exit_bytes, executor=executor, on_fault="retry") as session:
        struck(session, runs=100)
        result = session.run(image)
        assert not result.checks.ok
        assert [f.action for f in result.checks.findings][:2] == ["rerun", "reported"]
        assert all(f.permanent for f in result.checks.findings)
        assert session.counters.reruns == 1 and session.counters.permanent == 2
    with edgerun.Session(exit_bytes, executor=executor, on_fault="abort") as session:
        struck(session, runs=100)
        with pytest.raises(FaultError) as caught:
            session.run(image)
        assert [f.action for f in caught.value.findings] == ["rerun", "aborted"]
        assert (session.counters.runs, session.counters.aborted, session.counters.reruns) == (1, 1, 1)
        session.heal()
        assert session.run(image).checks.findings == ()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_exit_early_is_a_result_of_that_exit(exit_bytes, image, executor):
    with edgerun.Session(exit_bytes, executor=executor, checks="maed,abft", on_fault="exit-early") as session:
        last = max(k for k, s in enumerate(session.plan.steps) if s.kernel.startswith("conv"))
        clean = session.run(image)
        session.inject(Fault("result", last, 3, 1 << 30, runs=100))
        if executor == "python":
            with pytest.raises(FaultError):
                session.run(image)
            return
        result = session.run(image)
        assert (result.exit.index, result.exit.name) == (0, "exit1")
        assert list(result.outputs) == ["exit1"]
        assert np.array_equal(result.outputs["exit1"], clean.outputs["exit1"])
        assert [f.action for f in result.checks.findings] == ["rerun", "degraded"]
        assert not result.checks.ok


def test_the_callback_gets_every_finding_while_nothing_is_locked(exit_bytes, image):
    seen = []

    def tell(finding):
        done = threading.Event()  # another thread can use the session now
        threading.Thread(target=lambda: (session.run(image), done.set())).start()
        seen.append((finding.action, done.wait(20)))

    with edgerun.Session(exit_bytes, on_fault="retry", on_finding=tell) as session:
        struck(session)
        result = session.run(image)
        assert seen == [(f.action, True) for f in result.checks.findings] and seen


def test_what_the_callback_raises_is_raised(exit_bytes, image):
    def refuse(finding):
        raise RuntimeError(finding.check)

    with edgerun.Session(exit_bytes, on_finding=refuse) as session:
        struck(session)
        with pytest.raises(RuntimeError, match=r"maed|finite"):
            session.run(image)
        assert session.counters.runs == 1


def test_the_log_has_a_line_a_finding(exit_bytes, image, tmp_path):
    path = tmp_path / "faults.jsonl"
    with edgerun.Session(exit_bytes, on_fault="retry", fault_log=path) as session:
        session.run(image)
        assert path.read_text() == ""
        fault = struck(session, runs=2)
        findings = [*session.run(image).checks.findings, *session.run(image).checks.findings]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["run"], r["step"], r["action"]) for r in lines] == [
        *((2, fault.step, f.action) for f in findings[:-1]), (3, fault.step, findings[-1].action)]
    assert lines[0]["permanent"] is True and lines[0]["expected"] is None
    assert lines[0]["time"] > 1.7e9
    with edgerun.Session(exit_bytes, on_fault="abort", fault_log=path) as session:  # appended to; aborted runs, too
        struck(session, runs=100)
        with pytest.raises(FaultError):
            session.run(image)
    assert [json.loads(line)["action"] for line in path.read_text().splitlines()[len(lines):]] == ["rerun", "aborted"]


def test_each_line_is_on_the_disk_before_the_answer_is_given(tmp_path, monkeypatch):
    log, synced = FaultLog(tmp_path / "log"), []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").read_bytes()), fsync(fd)))
    log.write([{"n": 1}, {"n": 2}])
    assert [s.count(b"\n") for s in synced] == [1, 2]
    log.close()


def test_the_log_is_bounded(tmp_path):
    log = FaultLog(tmp_path / "log", limit=400, files=2)
    for n in range(200):
        log.write([{"n": n, "what": "x" * 40}])
    log.close()
    kept = sorted(tmp_path.iterdir())
    assert [p.name for p in kept] == ["log", "log.1", "log.2"]
    assert all(0 < p.stat().st_size <= 400 for p in kept)
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["n"] == 199


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_warns_once_and_stops_nothing(exit_bytes, image):
    with edgerun.Session(exit_bytes, fault_log="/dev/full", on_fault="retry") as session:
        struck(session, runs=3)
        with pytest.warns(EdgeRunWarning, match="can no longer be written"):
            assert session.run(image).checks.findings
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert session.run(image).checks.findings


def test_ort_warns_only_of_what_was_not_cured(exit_bytes, image):
    session = edgerun.InferenceSession(exit_bytes)
    struck(session._session)
    with pytest.warns(FaultWarning):
        session.run(None, {"image": image})
    options = edgerun.Session(exit_bytes, on_fault="retry")
    session._session = options
    struck(options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.run(None, {"image": image})
    assert options.counters.findings == {"maed": 1}
