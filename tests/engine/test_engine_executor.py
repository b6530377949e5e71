"""The engine through its Executor: answers, control flow, exits, checks, faults, threads, errors."""

from __future__ import annotations

import threading
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import branch_plan, chain, exits_plan, gather_plan

from edgerun.errors import DeadlineExceeded, InputError, PlanError, PolicyError
from edgerun.executors import engine
from edgerun.executors.base import RawRun
from edgerun.executors.engine import EngineExecutor
from edgerun.executors.python import PythonExecutor
from edgerun.limits import Limits
from edgerun.planner.plan import Policy, Slot, Step

pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


def wave(size: int) -> np.ndarray:
    return np.sin(np.arange(size, dtype=np.float32) * np.float32(0.7))[None]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_same_bits_on_any_number_of_threads(threads):
    x = wave(50_000)
    executor = EngineExecutor(chain(5, 50_000), threads=threads)
    run = executor.run([x])
    np.testing.assert_array_equal(run.outputs[0], np.maximum(x, 0))
    assert executor.threads == threads
    assert max(executor.step_threads) == min(threads, max(executor.step_threads))
    assert (run.steps_run, run.values_checked, run.findings) == (5, 250_000, ())
    assert (run.exit_index, run.n_exits, run.difficulty, run.scores, run.classes) == (-1, 0, None, (), ())
    assert run.elapsed_ns > 0


def test_the_run_has_exactly_the_fields_of_raw_run():
    run = EngineExecutor(chain(1, 4)).run([wave(4)])
    assert list(vars(run)) and set(vars(run)) == {f.name for f in fields(RawRun)}
    assert run == replace(run)


def test_outputs_are_the_callers():
    executor = EngineExecutor(chain(1, 4))
    first = executor.run([np.ones((1, 4), np.float32)]).outputs[0]
    executor.run([np.zeros((1, 4), np.float32)])
    assert first.flags.owndata and first.flags.writeable
    np.testing.assert_array_equal(first, np.ones((1, 4)))


@pytest.mark.parametrize("flag", [True, False])
def test_only_the_taken_branch_is_computed(flag):
    x = np.array([[-1, 2, -3, 4]], np.float32)
    feeds = [np.array(flag), x]
    run, peer = EngineExecutor(branch_plan()).run(feeds), PythonExecutor(branch_plan()).run(feeds)
    np.testing.assert_array_equal(run.outputs[0], np.maximum(x, 0) if flag else x + x)
    np.testing.assert_array_equal(run.outputs[0], peer.outputs[0])
    assert run.steps_run == peer.steps_run == (3 if flag else 2)


POLICIES = [
    Policy(), Policy("confidence", thresholds=(0.3, 0.3)), Policy("confidence", thresholds=(0.5, 0.7)),
    Policy("confidence", thresholds=(2.0, 2.0)),
    Policy("confidence", thresholds=(0.2, 0.2), mix=0.4, temperature=(2.0, 0.5)),
    Policy("entropy", thresholds=(0.05, 0.2)), Policy("patience", patience=1), Policy("patience", patience=2),
    Policy("deadline", budget_ns=0, segment_ns=(1.0, 1.0, 1.0)),
    Policy("deadline", budget_ns=10**12, segment_ns=(1.0, 1.0, 1.0)),
    Policy("dart", thresholds=(0.3, 0.3), beta=0.3), Policy("dart", thresholds=(0.3, 0.3), coeff=((1.0, 2.0), ())),
    Policy("dart", bin_edges=(0.2, 0.6), table=((0.1, 0.5, 2.0), (0.9, 0.0, 0.2)), beta=0.1),
]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-4, 4, width=32), min_size=4, max_size=4), alpha=st.floats(0, 1, width=32),
       logits=st.booleans())
@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: f"{p.kind}{len(p.table) or ''}")
def test_decides_as_the_python_executor(policy, values, alpha, logits):
    x = np.array([values if logits else np.abs(values)], np.float32)
    feeds = [x, np.array([alpha, 0.1, 0.2, 0.3], np.float32)]
    plan = exits_plan(policy, logits=logits, difficulty=True)
    run, peer = EngineExecutor(plan, threads=1).run(feeds), PythonExecutor(plan).run(feeds)
    assert run.classes == peer.classes[: len(run.classes)]
    np.testing.assert_allclose(run.scores, peer.scores[: len(run.scores)], rtol=2e-6, atol=2e-6)
    near = any(abs(s - t) < 1e-5 for s in run.scores for t in np.linspace(0, 1, 101))  # rounding may decide here
    if not near or policy.kind in ("none", "patience", "deadline"):
        assert run.exit_index == peer.exit_index
        assert [o is None for o in run.outputs] == [o is None for o in peer.outputs]
    assert run.difficulty == peer.difficulty


def test_coefficients_replace_those_of_the_policy():
    x = np.array([[0.1, 0.4, 0.2, 0.1]], np.float32)
    executor = EngineExecutor(exits_plan(Policy("dart", thresholds=(0.3, 0.3))))
    assert executor.run([x]).exit_index == 0
    executor.set_coefficients([[2.0] * 4, [1.0]])
    assert executor.run([x]).exit_index == 1
    executor.set_coefficients([])
    assert executor.run([x]).exit_index == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_an_armed_fault_is_found_once(threads):
    x = wave(40_000)
    executor = EngineExecutor(chain(3, 40_000), threads=threads)
    executor.arm_fault(1, 33_333, 1 << 30)
    (finding,) = executor.run([x]).findings
    assert (finding.step, finding.node, finding.op, finding.kernel) == (1, "node1", "Relu", "relu_f32")
    assert finding.check in ("maed", "finite")
    assert finding.index <= 33_333
    assert np.isnan(finding.expected) and np.isnan(finding.bound)  # not kept: NaN, not 0
    assert executor.run([x]).findings == ()


def test_a_nan_is_a_finding():
    x = np.array([[1, np.nan, 2, 3]], np.float32)
    (finding,) = EngineExecutor(chain(1, 4)).run([x]).findings
    assert (finding.check, finding.index) == ("finite", 1)
    assert np.isnan(finding.got) and finding.values == "expected a finite value, got nan"


def test_checks_off():
    run = EngineExecutor(chain(2, 4), checks=False).run([np.full((1, 4), np.nan, np.float32)])
    assert (run.values_checked, run.findings) == (0, ())


@pytest.mark.parametrize(("step", "index"), [(3, 0), (-1, 0), (0, 4), (0, -1)])
def test_faults_that_cannot_be_armed(step, index):
    with pytest.raises(PlanError, match="fault injection"):
        EngineExecutor(chain(3, 4)).arm_fault(step, index, 1)


def test_profile_and_tune():
    executor = EngineExecutor(chain(3, 30_000), threads=2)
    x = wave(30_000)
    times = executor.profile([x], repeats=2)
    assert len(times) == 3
    assert all(t > 0 for t in times)
    executor.tune([x], rounds=2)
    assert set(executor.step_threads) <= {1, 2}
    np.testing.assert_array_equal(executor.run([x]).outputs[0], np.maximum(x, 0))


@pytest.mark.parametrize(("feed", "message"), [
    (np.zeros((1, 4), np.float64), "float64"), (np.zeros((4,), np.float32), "shape"), ([[1, 2, 3, 4]], "dtype"),
    (np.zeros((2, 4), np.float32), r"\[1, 4\]"),
])
def test_a_wrong_feed_is_refused_by_name(feed, message):
    with pytest.raises(InputError, match=message) as caught:
        EngineExecutor(chain(1, 4)).run([feed])
    assert "'x'" in str(caught.value)


@pytest.mark.parametrize("feeds", [[], [np.zeros((1, 4), np.float32)] * 2])
def test_a_wrong_number_of_feeds(feeds):
    with pytest.raises(InputError, match="inputs"):
        EngineExecutor(chain(1, 4)).run(feeds)


def test_a_strided_feed_is_copied():
    x = np.arange(8, dtype=np.float32).reshape(1, 8)[:, ::2]
    np.testing.assert_array_equal(EngineExecutor(chain(1, 4)).run([x]).outputs[0], x)


@pytest.mark.parametrize(("indices", "rows"), [([-1, 0], [[4, 5], [0, 1]]), ([2, 2], [[4, 5], [4, 5]])])
def test_gather(indices, rows):
    np.testing.assert_array_equal(EngineExecutor(gather_plan()).run([np.array(indices)]).outputs[0], rows)


@pytest.mark.parametrize("indices", [[0, 3], [-4, 0]])
def test_indices_out_of_range(indices):
    with pytest.raises(InputError, match="node 'lookup'"):
        EngineExecutor(gather_plan()).run([np.array(indices)])


def test_constants_are_shared_between_executors():
    first = EngineExecutor(gather_plan())
    second = EngineExecutor(gather_plan(), share=first)
    first.close()
    del first
    np.testing.assert_array_equal(second.run([np.array([1, 1])]).outputs[0], [[2, 3], [2, 3]])


@pytest.mark.parametrize("threads", [1, 2])
def test_executors_in_several_python_threads(threads):
    x, wrong = wave(20_000), []
    want = np.maximum(x, 0)

    def work() -> None:
        executor = EngineExecutor(chain(4, 20_000), threads=threads)
        wrong.extend(1 for _ in range(30) if not np.array_equal(executor.run([x]).outputs[0], want))

    users = [threading.Thread(target=work) for _ in range(4)]
    for t in users:
        t.start()
    for t in users:
        t.join()
    assert not wrong


def test_one_executor_shared_by_threads_waits_its_turn():
    x, wrong = wave(20_000), []
    executor = EngineExecutor(chain(4, 20_000), threads=2)

    def work(sign: float) -> None:
        want = np.maximum(sign * x, 0)
        wrong.extend(1 for _ in range(30) if not np.array_equal(executor.run([sign * x]).outputs[0], want))

    users = [threading.Thread(target=work, args=(s,)) for s in (1, -1, 2)]
    for t in users:
        t.start()
    for t in users:
        t.join()
    assert not wrong


@pytest.mark.parametrize(("change", "message"), [
    ({"arena_bytes": 64}, "outside the arena"),
    ({"steps": (Step("jump", (), (), {"target": (0,)}),)}, "target after it"),
    ({"steps": (Step("relu_f32", (), (1,)),)}, "operands"),
    ({"steps": (Step("relu_f32", (0,), (0,)),)}, "not in the arena"),
    ({"policy": Policy("confidence", thresholds=(0.5,))}, "no exits"),
])
def test_a_plan_that_cannot_run_is_refused(change, message):
    with pytest.raises(PlanError, match=message):
        EngineExecutor(replace(chain(2, 64), **change))


def test_an_unknown_kernel_is_refused_before_loading():
    plan = replace(chain(1, 4), steps=(Step("onnx_reference", (0,), (1,)),))
    assert "onnx_reference" in engine.unsupported(plan)
    with pytest.raises(PlanError, match="Python executor"):
        EngineExecutor(plan)


def test_more_memory_than_there_can_be_is_a_plan_error():
    shape = (1 << 44,)
    slots = (Slot("x", "f32", shape, "input", 0), Slot("y", "f32", shape, "arena", 0))
    with pytest.raises(PlanError):
        EngineExecutor(replace(chain(1, 4), slots=slots, arena_bytes=1 << 46))


def test_an_arena_larger_than_its_slots_is_not_allocated():
    x = np.array([[-1, 2, -3, 4]], np.float32)
    run = EngineExecutor(replace(chain(1, 4), arena_bytes=1 << 50)).run([x])
    np.testing.assert_array_equal(run.outputs[0], np.maximum(x, 0))


def test_coefficients_of_the_wrong_form_change_nothing():
    executor = EngineExecutor(exits_plan(Policy("dart", thresholds=(0.3, 0.3))))
    with pytest.raises((PolicyError, ValueError, TypeError)):
        executor.set_coefficients([["many"]])  # type: ignore[list-item]
    assert executor.run([np.array([[0.1, 0.4, 0.2, 0.1]], np.float32)]).exit_index == 0


@pytest.mark.parametrize("kind", [EngineExecutor, PythonExecutor])
def test_a_run_ends_when_its_time_is_over(kind):
    plan, x = chain(60, 1 << 20), wave(1 << 20)
    late = EngineExecutor(plan, seconds=1e-3) if kind is EngineExecutor else PythonExecutor(plan, limits=Limits(seconds=1e-3))
    with pytest.raises(DeadlineExceeded, match=r"within 0\.001 s.*timeout="):
        late.run([x])
    patient = EngineExecutor(plan, seconds=3600.0) if kind is EngineExecutor else PythonExecutor(plan, limits=Limits(seconds=3600.0))
    np.testing.assert_array_equal(patient.run([x]).outputs[0], np.maximum(x, 0))
