"""Every hostile model ends in a typed error or a correct run, within the limits; and the runner notices what does not."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgerun_tools.hostile import Case, Skip, controls, corpus
from edgerun_tools.hostile.case import Family
from edgerun_tools.hostile.child import differing
from edgerun_tools.hostile.runner import Limits, run_case

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures processes through /proc")
LIMITS = Limits(kill_s=6.0)
CASES = [pytest.param(c, id=c.name) for c in corpus().values()]


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_model(case: Case) -> None:
    outcome = run_case(case, LIMITS)
    if outcome.result == "skipped":
        pytest.skip(outcome.message)
    assert outcome.passed, f"{case.what} {outcome}"


def test_there_are_at_least_100_hostile_models() -> None:
    assert sum(c.expected != "runs" for c in corpus().values()) >= 100


def test_most_models_must_be_refused() -> None:
    kinds = Counter(c.expected for c in corpus().values())
    assert kinds["error"] > kinds["either"] + kinds["runs"]


@pytest.mark.parametrize(("subject", "case", "result"), [
    (controls.refuses, "empty", "typed error"),
    (controls.refuses, "plain", "refused"),
    (controls.raises, "empty", "untyped exception"),
    (controls.answers_wrongly, "empty", "accepted"),
    (controls.answers_wrongly, "plain", "wrong answer"),
    (controls.answers_nothing, "plain", "wrong answer"),
    (controls.crashes, "empty", "crash"),
    (controls.leaves, "empty", "crash"),
    (controls.hangs, "empty", "hang"),
    (controls.is_slow, "empty", "over time"),
    (controls.hoards, "empty", "over memory"),
    (controls.wants_too_much, "empty", "untyped exception"),
], ids=lambda v: getattr(v, "__name__", v))
def test_the_runner_notices(subject, case: str, result: str) -> None:
    outcome = run_case(corpus()[case], Limits(seconds=0.4, memory_mib=200, kill_s=1.5), subject=subject)
    assert outcome.result == result


def test_a_signal_is_named() -> None:
    assert "SIGSEGV" in run_case(corpus()["empty"], LIMITS, subject=controls.crashes).message


def test_a_case_that_cannot_be_built_is_skipped() -> None:
    def build(folder: Path) -> Path:
        raise Skip("no hard links here")

    outcome = run_case(Case("x", "paths", "A hard link.", build))
    assert (outcome.result, outcome.message) == ("skipped", "no hard links here")


def test_files_are_kept_where_asked(tmp_path) -> None:
    run_case(corpus()["half"], LIMITS, tmp_path, controls.refuses)
    assert (tmp_path / "half" / "model.onnx").stat().st_size > 0


def test_a_case_that_may_run_needs_an_oracle() -> None:
    with pytest.raises(ValueError, match="oracle"):
        Case("x", "bytes", "Nothing.", lambda folder: folder, "either")


def test_a_case_that_must_not_run_has_no_oracle() -> None:
    with pytest.raises(ValueError, match="oracle"):
        Case("x", "bytes", "Nothing.", lambda folder: folder, "error", lambda feeds: [])


def test_a_family_writes_bytes_as_they_are(tmp_path) -> None:
    path = Family("bytes").error("x", "Three bytes.", lambda: b"abc").build(tmp_path)
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize(("found", "said"), [
    ([], "expected 1 outputs"), ([None], "found none"), ([np.zeros(3, np.float32)], r"float32 \[3\]"),
    ([np.zeros(2, np.float64)], "float64"), ([np.ones(2, np.float32)], r"found \[1. 1.\]"),
    ([np.full(2, np.nan, np.float32)], "nan"),
], ids=["count", "none", "shape", "dtype", "values", "nan"])
def test_wrong_answers_are_described(found, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert not differing([np.zeros(2, np.float32)], found), differing([np.zeros(2, np.float32)], found)


def test_a_right_answer_is_right() -> None:
    assert differing([np.array([1, np.nan], np.float32)], [np.array([1, np.nan], np.float32)]) == ""


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgerun_tools.hostile", *arguments], capture_output=True, text=True)


def test_the_command_passes_and_writes_json(tmp_path) -> None:
    done = _command("--only", "empty", "--only", "half", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0 and "2 of 2" in done.stdout
    assert '"edgerun.hostile/1"' in (tmp_path / "out.json").read_text()


def test_the_command_fails_where_a_limit_is_broken() -> None:
    done = _command("--only", "unknown-field-8-mib", "--memory-mib", "1")
    assert done.returncode == 1 and "over memory unknown-field-8-mib" in done.stdout


def test_the_command_refuses_an_unknown_name() -> None:
    done = _command("--only", "nonsense")
    assert done.returncode == 2 and "nonsense" in done.stderr
