"""`Session.light` gives what `run_raw` gives, refuses what that refuses, and tells the ledger."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import edgerun
from edgerun.errors import FaultError, InputError
from edgerun.executors import engine
from edgerun.executors.base import Fault
from edgerun.feeds import is_finite

EXECUTORS = [pytest.param("engine", marks=pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")), "python"]
ROW = np.array([[1.0, 2.0, 4.0]], np.float32)


@pytest.fixture(params=EXECUTORS)
def executor(request) -> str:
    return request.param


def test_outputs_are_those_of_a_run(exit_bytes, executor):
    image = np.random.default_rng(5).standard_normal((1, 1, 4, 4)).astype(np.float32)
    with edgerun.Session(exit_bytes, executor=executor, threads=1) as session:
        expected, call = session.run_raw([image]).outputs, session.light()
        for _ in range(2):
            for found, e in zip(call([image]), expected, strict=True):
                np.testing.assert_array_equal(found, e)
        assert session.counters.runs == 3 and session.counters.runs == 3  # to look does not count


def test_a_vector_will_do_for_a_row_and_what_is_apart_is_put_together(add_bytes, executor):
    wide = np.repeat(ROW, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    with edgerun.Session(add_bytes, executor=executor, threads=1) as session:
        call = session.light()
        for a in (ROW, ROW[0], wide):
            np.testing.assert_array_equal(call([a, ROW])[0], 2 * ROW)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_run(add_bytes, executor, bad):
    x = np.repeat(ROW, 2, axis=1)
    x[0, 4] = bad
    with edgerun.Session(add_bytes, executor=executor, threads=1, nonfinite="allow") as session:
        call = session.light()
        assert call([ROW, np.ascontiguousarray(x[:, ::2])]) is None and call([x[:, ::2], ROW]) is None
        assert session.counters.runs == 0 and call([ROW, ROW]) is not None


@pytest.mark.parametrize("feed", [ROW.astype(np.float64), ROW[:, :2], np.zeros((2, 3), np.float32), ROW[None]])
def test_what_does_not_fit_is_refused(add_bytes, executor, feed):
    with edgerun.Session(add_bytes, executor=executor, threads=1) as session, pytest.raises(InputError, match=r"a.*expected"):
        session.light()([feed, ROW])


def test_other_shapes_do_not_drive_its_plan_out(add_bytes, executor):
    with edgerun.Session(add_bytes, executor=executor, threads=1, plan_cache=1) as session:
        call = session.light()
        for n in (2, 3, 4):
            x = np.ones((n, 3), np.float32)
            np.testing.assert_array_equal(session.run({"a": x, "b": x}).outputs["sum"], 2 * x)
            np.testing.assert_array_equal(call([ROW, ROW])[0], 2 * ROW)
        assert len(session._plans) == 2


def test_findings_reach_the_ledger(exit_bytes, executor):
    image, seen = np.ones((1, 1, 4, 4), np.float32), []
    with edgerun.Session(exit_bytes, executor=executor, threads=1, checks="maed", on_fault="abort", on_finding=seen.append) as session:
        call = session.light()
        step = next(k for k, s in enumerate(session.plan.steps) if s.kernel.startswith("conv"))
        session.inject(Fault("result", step, 3, 1 << 30, runs=100))
        with pytest.raises(FaultError):
            call([image])
        session.heal()
        call([image])
        assert seen and (session.counters.runs, session.counters.aborted) == (2, 1)
    with edgerun.Session(exit_bytes, executor=executor, threads=1, checks="maed") as session:
        call = session.light()
        session.inject(Fault("result", step, 3, 1 << 30))
        assert len(call([image])) == 2 and session.counters.findings == {"maed": 1}


def test_threads_may_share_it(add_bytes, executor):
    with edgerun.Session(add_bytes, executor=executor, threads=1) as session:
        call, wrong = session.light(), []

        def work(k: int) -> None:
            x = np.full((1, 3), k, np.float32)
            wrong.extend(1 for _ in range(300) if not np.array_equal(call([x, x])[0], 2 * x))

        team = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in team:
            t.start()
        for t in team:
            t.join()
        assert not wrong and session.counters.runs == 1200


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 300_001])
def test_the_engine_finds_what_is_not_finite_anywhere(dtype, size):
    x = np.full(size, 6e4, dtype)
    assert is_finite(x) and is_finite(x[::2]) and is_finite(x[:0])
    for place in {0, size // 2, size - 1}:
        for bad in (np.nan, np.inf, -np.inf):
            x[place] = bad
            assert not is_finite(x) and is_finite(np.delete(x, place))
            x[place] = -0.0
