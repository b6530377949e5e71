"""What is done about findings: transient faults are corrected bit for bit, permanent ones told apart, and the policies kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from plans import chain, exits_plan

import edgerun
from edgerun.errors import DeadlineExceeded, FaultError
from edgerun.executors import engine
from edgerun.executors.base import Fault, RawRun
from edgerun.executors.engine import EngineExecutor
from edgerun.options import REACTIONS
from edgerun.planner.plan import Policy
from edgerun.planner.protect import protect

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT / "models/zoo/mnist_alexnet/model.onnx"
RESNET = Path(os.environ.get("EDGERUN_DATA", ROOT.parent / "shared" / "data")) / "models/mlperf_resnet8_cifar10_fp32.onnx"
LADDER = [r for r in REACTIONS if r != "flag"]
pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


@pytest.fixture(scope="module", params=[MNIST, RESNET], ids=lambda p: p.parent.name)
def case(request):
    """(plan made for recomputation, feeds)."""
    if not request.param.is_file():
        pytest.skip(f"{request.param.name} is not there: set EDGERUN_DATA")
    with edgerun.Session(request.param, checks="standard") as session:
        x = np.random.default_rng(3).random([d if isinstance(d, int) else 1 for d in session.inputs[0].shape], np.float32)
        return session.plan, [x]


def bits(run: RawRun) -> list[bytes]:
    return [b"" if y is None else y.tobytes() for y in run.outputs]


def products(plan) -> list[int]:
    return [k for k, s in enumerate(plan.steps) if any(c.kind == "abft" for c in s.checks)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("site", ["accumulator", "result", "stop"])
def test_a_transient_fault_is_corrected_bit_for_bit(case, site, threads):
    plan, feeds = case
    clean = EngineExecutor(plan).run(feeds)
    executor = EngineExecutor(plan, threads=threads, on_fault="retry")
    steps = [k for k in products(plan) if site in executor.sites()[k] and (site != "result" or "Relu" in plan.steps[k].op)]
    assert steps
    for step in steps:  # a result is verified where there is an activation
        executor.arm(Fault(site, step, 0 if site == "stop" else executor.sites()[step][site] // 2, 1 << 30))
        run = executor.run(feeds)
        assert [(f.step, f.action, f.permanent) for f in run.findings] == [(step, "corrected", False)]
        assert bits(run) == bits(clean)
        assert (run.reruns, run.steps_run) == (0, clean.steps_run)
        assert executor.run(feeds).findings == ()


def test_struck_weights_are_made_again(case):
    plan, feeds = case
    clean = EngineExecutor(plan).run(feeds)
    executor = EngineExecutor(plan, on_fault="retry")
    step = [k for k in products(plan) if plan.steps[k].kernel == "matmul_f32"][-1]
    middle = executor.sites()[step]["weights"] // 2 | 3  # weights: addresses are in front
    for index in range(middle, middle + 2048, 36):  # of many rows and columns: those that meet an activation of 0 do nothing
        executor.arm(Fault("weights", step, index, 0x40))
    run = executor.run(feeds)
    assert [(f.step, f.action, f.permanent) for f in run.findings] == [(step, "restored", True)]
    assert bits(run) == bits(clean)
    assert executor.run(feeds).findings == ()  # they stay mended
    assert bits(executor.run(feeds)) == bits(clean)


def test_a_permanent_fault_is_told_as_one_and_costs_one_more_run(case):
    plan, feeds = case
    executor = EngineExecutor(plan, on_fault="retry")
    clean = executor.run(feeds)
    step = products(plan)[1]
    executor.arm(Fault("accumulator", step, 5, 1 << 30, runs=100))
    run = executor.run(feeds)
    assert [(f.action, f.permanent) for f in run.findings if f.step == step] == [("rerun", True), ("reported", True)]
    assert (run.reruns, run.steps_run) == (1, clean.steps_run + step + 1)
    again = executor.run(feeds)  # known by now: the whole run is not tried again
    assert [(f.action, f.permanent) for f in again.findings if f.step == step] == [("reported", True)]
    assert again.reruns == 0
    executor.heal()
    assert executor.run(feeds).findings == ()
    assert bits(executor.run(feeds)) == bits(clean)


def test_flag_only_reports(case):
    plan, feeds = case
    executor = EngineExecutor(plan)
    executor.arm(Fault("accumulator", products(plan)[0], 5, 1 << 30))
    run = executor.run(feeds)
    assert {(f.action, f.permanent) for f in run.findings} == {("reported", False)}
    assert bits(run) != bits(executor.run(feeds))


def test_abort_raises_with_the_findings(case):
    plan, feeds = case
    executor = EngineExecutor(plan, on_fault="abort")
    step = products(plan)[0]
    executor.arm(Fault("accumulator", step, 5, 1 << 30, runs=100))
    with pytest.raises(FaultError, match=rf"node '{plan.steps[step].node}'.*permanent") as caught:
        executor.run(feeds)
    assert [(f.action, f.permanent) for f in caught.value.findings] == [("rerun", True), ("aborted", True)]
    executor.heal()
    assert executor.run(feeds).findings == ()


@pytest.mark.parametrize("reaction", ["abort", "exit-early"])
def test_a_transient_fault_is_corrected_before_anything_is_given_up(case, reaction):
    plan, feeds = case
    executor = EngineExecutor(plan, on_fault=reaction)
    clean = executor.run(feeds)
    executor.arm(Fault("accumulator", products(plan)[-1], 5, 1 << 30))
    run = executor.run(feeds)
    assert [f.action for f in run.findings] == ["corrected"] and bits(run) == bits(clean)


@pytest.mark.parametrize(("site", "check"), [("buffer", "buffers"), ("skip", "flow"), ("repeat", "flow"), ("swap", "flow"),
                                              ("jump", "flow")])
def test_what_cannot_be_computed_from_is_left_to_the_whole_run(case, site, check):
    plan, feeds = protect(case[0], "full"), case[1]
    executor = EngineExecutor(plan, on_fault="abort")
    clean = executor.run(feeds)
    executor.arm(Fault(site, products(plan)[1], len(plan.steps) if site == "jump" else 0, 1 << 6))
    run = executor.run(feeds)
    assert {(f.check, f.action) for f in run.findings} >= {(check, "rerun")}
    assert {f.action for f in run.findings} <= {"rerun", "corrected"} and run.reruns == 1
    assert bits(run) == bits(clean)
    assert executor.run(feeds).findings == ()


@pytest.mark.parametrize("reaction", LADDER)
def test_scrubbed_weights_are_made_again_before_they_are_used(case, reaction):
    plan, feeds = protect(case[0], "weights"), case[1]
    executor = EngineExecutor(plan, on_fault=reaction, scrub_bytes=1 << 30)
    clean = executor.run(feeds)
    for site in ("weights", "params"):  # first those in front: addresses, which would end the process if they were used
        executor.arm(Fault(site, products(case[0])[-1], 0, 0xFF))
        run = executor.run(feeds)
        assert [(f.check, f.action, f.permanent) for f in run.findings] == [("weights", "restored", True)]
        assert bits(run) == bits(clean) and run.reruns == 0
        assert executor.run(feeds).findings == ()


@pytest.mark.parametrize("reaction", LADDER)
def test_struck_constants_come_back_from_the_plan(case, reaction):
    plan, feeds = protect(case[0], "weights"), case[1]
    executor = EngineExecutor(plan, on_fault=reaction, scrub_bytes=1 << 30)
    clean = executor.run(feeds)
    executor.arm(Fault("constants", products(case[0])[-1], 8, 0xFF))
    run = executor.run(feeds)
    assert [(f.check, f.action) for f in run.findings] == [("weights", "restored")]
    assert bits(run) == bits(clean) and run.reruns == 1
    assert executor.run(feeds).findings == ()


def mnist_exits(on_fault):
    with edgerun.Session(MNIST, checks="standard", on_fault=on_fault) as session:
        plan = session.plan
    executor = EngineExecutor(plan, on_fault=on_fault)
    ends = [k for k, s in enumerate(plan.steps) if s.kernel == "exit"]
    x = np.random.default_rng(3).random((1, 1, 28, 28), np.float32)
    return plan, executor, ends, [x]


@pytest.mark.parametrize("number", [0, 1])
def test_exit_early_gives_the_last_trusted_exit(number):
    plan, executor, ends, feeds = mnist_exits("exit-early")
    clean = executor.run(feeds)
    step = next(k for k in products(plan) if k > ends[number])
    executor.arm(Fault("accumulator", step, 5, 1 << 30, runs=100))
    run = executor.run(feeds)
    assert (run.exit_index, len(run.scores)) == (number, number + 1)
    assert [f.action for f in run.findings] == ["rerun", "degraded"]
    assert [y is None for y in run.outputs] == [k > number for k in range(3)]
    assert bits(run)[:number + 1] == bits(clean)[:number + 1]
    assert run.scores == clean.scores[:number + 1]


def test_exit_early_without_an_exit_before_it_aborts():
    plan, executor, _, feeds = mnist_exits("exit-early")
    executor.arm(Fault("accumulator", products(plan)[0], 5, 1 << 30, runs=100))
    with pytest.raises(FaultError):
        executor.run(feeds)


@pytest.mark.parametrize("reaction", LADDER)
def test_timeouts_hold_while_a_fault_is_dealt_with(reaction):
    plan = chain(60, 1 << 22)  # a step alone takes longer than that, so the two passes of "abort" cannot end in time
    executor = EngineExecutor(plan, seconds=5e-4, on_fault=reaction)
    executor.arm(Fault("result", 0, 5, 1 << 30, runs=100))
    with pytest.raises(DeadlineExceeded):
        executor.run([np.ones((1, 1 << 22), np.float32)])


@pytest.mark.parametrize("reaction", LADDER)
def test_a_nan_of_the_callers_is_no_transient_fault(reaction):
    """Nothing can help: two passes, and the answer (or the error) says that it stays."""
    executor, x = EngineExecutor(chain(3, 4), on_fault=reaction), np.array([[1, np.nan, 2, 3]], np.float32)
    if reaction in ("retry", "restrict"):  # the plan knows no ranges
        run = executor.run([x])
        assert (run.reruns, run.steps_run) == (1, 4)
        assert [(f.step, f.action) for f in run.findings] == [(0, "rerun"), (0, "reported"), (1, "reported"), (2, "reported")]
        return
    with pytest.raises(FaultError) as caught:
        executor.run([x])
    assert caught.value.findings[-1].permanent


def test_more_findings_than_are_kept_are_dealt_with():
    executor = EngineExecutor(chain(400, 8), on_fault="retry")
    run = executor.run([np.full((1, 8), np.nan, np.float32)])
    assert len(run.findings) == 256 and run.reruns == 1


def test_a_step_that_writes_over_its_operand_is_left_to_the_whole_run():
    plan = chain(3, 64)
    slots = tuple(s if s.place != "arena" else type(s)(s.name, s.dtype, s.shape, s.place, 0) for s in plan.slots)
    executor = EngineExecutor(type(plan)(slots, plan.steps, (), plan.inputs, plan.outputs, plan.arena_bytes), on_fault="retry")
    x = np.linspace(-1, 1, 64, dtype=np.float32)[None]
    clean = executor.run([x])
    executor.arm(Fault("result", 1, 40, 1 << 30))
    run = executor.run([x])
    assert [(f.step, f.action) for f in run.findings] == [(1, "rerun")]
    assert bits(run) == bits(clean)


def test_plans_for_recomputation_keep_operands_and_give_the_same_bits():
    x = np.random.default_rng(3).random((1, 1, 28, 28), np.float32)
    runs = []
    for on_fault in ("flag", "retry"):
        with edgerun.Session(MNIST, checks="maed", on_fault=on_fault) as session:
            runs.append(session.run_raw([x]))
            if on_fault == "flag":
                continue
            for s in session.plan.steps:
                spans = [[(session.plan.slots[k].offset, session.plan.slots[k].nbytes) for k in side
                          if k >= 0 and session.plan.slots[k].place == "arena"] for side in (s.inputs, s.outputs)]
                assert not any(a < c + d and c < a + b for a, b in spans[0] for c, d in spans[1])
    assert bits(runs[0]) == bits(runs[1])


def test_exits_that_are_left_are_not_dealt_with_again():
    executor = EngineExecutor(exits_plan(Policy("confidence", thresholds=(0.3, 0.3))), on_fault="exit-early")
    x = np.array([[9, 0, 0, 0]], np.float32)
    executor.arm(Fault("result", 0, 0, 1 << 30))
    run = executor.run([x])
    assert run.exit_index == 0 and [f.action for f in run.findings] == ["corrected"]
