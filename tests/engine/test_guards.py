"""The checks weights, flow, buffers and duplicate: what they find in a running model, on both executors, and that they find
nothing in one that is well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plans import branch_plan, chain, exits_plan, gather_plan

import edgerun
from edgerun.errors import OptionError, PlanError
from edgerun.executors import engine
from edgerun.executors.base import Fault, RawRun
from edgerun.executors.engine import EngineExecutor
from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import Plan, Policy, Slot
from edgerun.planner.protect import protect

MNIST = Path(__file__).parents[2] / "models/zoo/mnist_alexnet/model.onnx"
needs_engine = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")
EXECUTORS = [pytest.param(EngineExecutor, marks=needs_engine), PythonExecutor]
EVERYTHING = 1 << 40  # bytes to verify in every run


@pytest.fixture(scope="module")
def mnist() -> Plan:
    with edgerun.Session(MNIST, checks="full") as session:
        return session.plan


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(3).random((1, 1, 28, 28), np.float32)


def kinds(run: RawRun) -> set[str]:
    return {f.check for f in run.findings}


def bits(run: RawRun) -> list[bytes]:
    return [b"" if y is None else y.tobytes() for y in run.outputs]


# -- nothing to find ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", EXECUTORS)
def test_guards_find_nothing_and_change_no_bit(mnist, image, kind):
    guarded, bare = kind(mnist, scrub_bytes=EVERYTHING), kind(protect(mnist, "off"))
    for scale in (1.0, -3.0, 0.0):
        run = guarded.run([image * np.float32(scale)])
        assert not run.findings
        assert bits(run) == bits(bare.run([image * np.float32(scale)]))
    assert not guarded.scrub()


@needs_engine
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_steps_sums_and_second_computations(threads):
    size = 600_000  # several segments of sums each
    plan, x = protect(chain(3, size), "full"), np.random.default_rng(1).standard_normal((1, size)).astype(np.float32)
    executor = EngineExecutor(plan, threads=threads)
    executor.tune([x])
    run = executor.run([x])
    assert not run.findings
    assert np.array_equal(run.outputs[0], np.maximum(x, 0))
    executor.arm(Fault("buffer", 1, 4 * (size - 1) + 3, 0x80))
    assert kinds(executor.run([x])) == {"buffers"}


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("flag", [True, False])
def test_branches(kind, flag):
    executor, x = kind(protect(branch_plan(), "full")), np.array([[-1, 2, -3, 4]], np.float32)
    for value in (flag, not flag, flag):
        run = executor.run([np.array(value), x])
        assert not run.findings
        assert np.array_equal(run.outputs[0], np.maximum(x, 0) if value else x + x)


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("policy", [Policy(), Policy("confidence", thresholds=(0.0, 0.0)), Policy("confidence", thresholds=(2.0, 0.0))])
def test_early_exits(kind, policy):
    executor = kind(protect(exits_plan(policy), "full"))
    run = executor.run([np.array([[1, -2, 3, 4]], np.float32)])
    assert not run.findings


@pytest.mark.parametrize("kind", EXECUTORS)
def test_results_written_over_their_operand(kind):
    room = 64
    slots = (Slot("x", "f32", (1, 4), "input", 0), Slot("a", "f32", (1, 4), "arena", 0), Slot("b", "f32", (1, 4), "arena", 0),
             Slot("c", "f32", (1, 4), "arena", 0))
    plan = protect(replace(chain(3, 4), slots=slots, arena_bytes=room), "full")
    executor, x = kind(plan), np.array([[-1, 2, -3, 4]], np.float32)
    assert not executor.run([x]).findings
    executor.arm(Fault("buffer", 1, 7, 0x40))
    assert kinds(executor.run([x])) == {"buffers"}


# -- weights --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_struck_byte_of_weights_is_found_and_restored(mnist, image, kind):
    executor = kind(mnist, scrub_bytes=EVERYTHING)
    clean = executor.run([image])
    rng = np.random.default_rng(5)
    steps = [k for k, sites in enumerate(executor.sites()) if "weights" in sites]
    assert len(steps) >= 5
    for step in steps:
        for index in rng.integers(0, executor.sites()[step]["weights"], 5):
            executor.arm(Fault("weights", step, int(index), 1 << int(rng.integers(8))))
            found = executor.scrub()
            assert {(f.check, f.step) for f in found} == {("weights", step)}
            assert executor.restore(step)
            assert not executor.scrub()
    assert bits(executor.run([image])) == bits(clean)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_constants_read_as_they_are_are_found_and_restored(kind):
    executor, feeds = kind(protect(gather_plan(), "full"), scrub_bytes=EVERYTHING), [np.array([-1, 0])]
    clean = executor.run(feeds)
    executor.arm(Fault("constants", 0, 19, 0x80))
    run = executor.run(feeds)
    assert [(f.check, f.step) for f in run.findings] == [("weights", 0)]
    assert bits(run) != bits(clean)
    assert executor.restore(0)
    run = executor.run(feeds)
    assert not run.findings and bits(run) == bits(clean)


@needs_engine
def test_weights_and_their_constants_are_restored_from_the_plan(mnist, image):
    executor = EngineExecutor(mnist, scrub_bytes=EVERYTHING)
    clean = executor.run([image])
    step = max(k for k, s in enumerate(mnist.steps) if s.kernel == "matmul_f32")
    executor.arm(Fault("constants", step, 70, 4))
    executor.arm(Fault("weights", step, 4099, 4))
    assert len(executor.scrub()) == 2
    assert executor.restore(step)
    run = executor.run([image])
    assert not run.findings and bits(run) == bits(clean)


@pytest.mark.parametrize("executor", ["engine", "python"])
def test_the_session_scrubs(executor):
    if executor == "engine" and not engine.available():
        pytest.skip("the C++ engine is not built")
    with edgerun.Session(MNIST, checks="weights", executor=executor) as session:
        assert session.scrub() == ()
        step = next(k for k, s in enumerate(session.plan.steps) if s.kernel == "matmul_f32")
        session.inject(Fault("weights", step, 100, 1))
        assert [(f.check, f.step) for f in session.scrub()] == [("weights", step)]
        session.heal()
        assert session.scrub() == ()


@needs_engine
def test_what_is_verified_in_a_run_depends_on_its_time(mnist, image):
    executor = EngineExecutor(protect(mnist, "standard"))
    for _ in range(5):
        executor.run([image])
    few = executor.scrub_runs
    assert few > 1
    executor.arm(Fault("weights", max(k for k, s in enumerate(mnist.steps) if s.kernel == "matmul_f32"), 4099, 4))
    assert any("weights" in kinds(executor.run([image])) for _ in range(20 * few))
    assert EngineExecutor(protect(mnist, "maed")).scrub_runs == 0


@pytest.mark.parametrize("kind", EXECUTORS)
def test_restore_names_a_step_that_is_not_there(mnist, kind):
    with pytest.raises(PlanError, match=f"restore: step: expected 0 to {len(mnist.steps) - 1}; found {len(mnist.steps)}"):
        kind(mnist).restore(len(mnist.steps))


# -- buffers --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_altered_output_is_found(mnist, image, kind):
    executor = kind(mnist)
    rng = np.random.default_rng(6)
    for step, sites in enumerate(executor.sites()):
        if "buffer" not in sites:
            continue
        for index in rng.integers(0, sites["buffer"], 4):
            executor.arm(Fault("buffer", step, int(index), 1 << int(rng.integers(8))))
            run = executor.run([image])
            assert ("buffers", step) in {(f.check, f.step) for f in run.findings}
    assert not executor.run([image]).findings


@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_altered_operand_is_found(mnist, image, kind):
    executor = kind(mnist)
    for step, sites in enumerate(executor.sites()):
        if "input" in sites:
            executor.arm(Fault("input", step, sites["input"] // 2, 2))
            assert "buffers" in kinds(executor.run([image]))


@pytest.mark.parametrize("kind", EXECUTORS)
def test_the_place_of_an_altered_output(kind):
    size = 40_000
    executor = kind(protect(chain(2, size), "buffers"))
    executor.arm(Fault("buffer", 0, 4 * 20_000, 1))
    found = executor.run([np.ones((1, size), np.float32)]).findings
    assert [(f.check, f.step, f.kernel) for f in found] == [("buffers", 0, "relu_f32")]
    assert found[0].index <= 20_000
    assert found[0].values == "expected the bytes that were written, got others in the block that begins there"


# -- flow -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "site"), [
    *[pytest.param(EngineExecutor, s, marks=needs_engine) for s in ("skip", "repeat", "swap", "stop", "jump")], (PythonExecutor, "skip"),
])
def test_every_change_of_the_order_is_found(mnist, image, kind, site):
    executor = kind(protect(mnist, "flow"))
    count = 0
    for step, sites in enumerate(executor.sites()):
        for index in (0,) if sites.get(site, 0) == 1 else range(0, sites.get(site, 0), max(1, sites.get(site, 0) // 3)):
            if site == "jump" and index == step + 1:
                continue  # where it goes anyway
            executor.arm(Fault(site, step, index))
            run = executor.run([image])
            assert kinds(run) == {"flow"}
            count += 1
    assert count >= 5
    assert not executor.run([image]).findings


@needs_engine
def test_flow_is_told_at_the_exit():
    executor = EngineExecutor(protect(exits_plan(Policy("confidence", thresholds=(0.0, 0.0))), "flow"))
    x = np.array([[1, -2, 3, 4]], np.float32)
    executor.arm(Fault("repeat", 0))
    run = executor.run([x])
    assert run.exit_index == 0
    assert [(f.check, f.step) for f in run.findings] == [("flow", 1)]
    assert not executor.run([x]).findings


@needs_engine
@pytest.mark.parametrize("flag", [True, False])
def test_flow_sees_a_wrong_branch(flag):
    executor = EngineExecutor(protect(branch_plan(), "flow"))
    feeds = [np.array(flag), np.ones((1, 4), np.float32)]
    executor.arm(Fault("jump", 0, 3 if flag else 1))
    assert kinds(executor.run(feeds)) == {"flow"}
    assert not executor.run(feeds).findings


# -- parameters and tables ------------------------------------------------------------------------------------------------

@needs_engine
@pytest.mark.parametrize("on_fault", ["flag", "retry", "abort"])
def test_damaged_parameters_are_mended_before_they_are_used(mnist, image, on_fault):
    """Struck sizes and addresses would end the process, or write anywhere: every fourth byte of every step, all of its bits."""
    executor = EngineExecutor(protect(mnist, "weights"), scrub_bytes=1, on_fault=on_fault)
    clean = bits(executor.run([image]))
    for step, sites in enumerate(executor.sites()):
        for index in range(0, sites.get("params", 0), 4):
            executor.arm(Fault("params", step, index, 0xFF))
            run = executor.run([image])
            assert [(f.check, f.step, f.action, f.permanent) for f in run.findings] == [("weights", step, "restored", True)], (step, index)
            assert bits(run) == clean
            executor.heal()


@needs_engine
@pytest.mark.parametrize("name", ["cifar10_alexnet", "cifar10_resnet18"])
def test_whatever_is_prepared_again_has_the_same_bytes(name):
    with edgerun.Session(MNIST.parents[1] / name / "model.onnx", checks="weights", threads=1) as session:
        plan = session.plan
    executor = EngineExecutor(plan, scrub_bytes=1, on_fault="flag")
    x = np.random.default_rng(5).random(plan.slots[plan.inputs[0].slot].shape, np.float32)
    executor.run([x])
    for step, sites in enumerate(executor.sites()):
        if "params" in sites:
            executor.arm(Fault("params", step, sites["params"] // 2, 0xFF))
            assert [(f.step, f.action) for f in executor.run([x]).findings] == [(step, "restored")], plan.steps[step].kernel
            executor.heal()


@needs_engine
def test_a_damaged_table_of_offsets_is_mended_before_it_is_used(mnist, image):
    """Convolutions and products keep offsets in front of their packed weights."""
    executor = EngineExecutor(protect(mnist, "weights"), scrub_bytes=1)
    clean, found = bits(executor.run([image])), 0
    for step, s in enumerate(mnist.steps):
        if s.kernel not in ("conv2d_f32", "matmul_f32"):
            continue
        for index in range(8):
            executor.arm(Fault("weights", step, index, 0x80))
            run = executor.run([image])
            found += len(run.findings)
            if run.findings:
                assert [(f.check, f.action) for f in run.findings] == [("weights", "restored")] and bits(run) == clean
            executor.heal()
    assert found >= 8


@needs_engine
def test_a_damaged_sum_of_parameters_is_formed_again(mnist, image):
    executor = EngineExecutor(protect(mnist, "weights"), scrub_bytes=1)
    clean = bits(executor.run([image]))
    for step, sites in enumerate(executor.sites()):
        if "params" not in sites:
            continue
        executor.arm(Fault("checksum", step, sites["checksum"] - 1, 0x10))  # the CRCs of its weights come before it
        run = executor.run([image])
        assert [(f.check, f.step, f.action) for f in run.findings] == [("weights", step, "restored")] and bits(run) == clean
        executor.heal()
        assert not executor.run([image]).findings


# -- range ----------------------------------------------------------------------------------------------------------------

@needs_engine
def test_a_flipped_exponent_between_two_products_is_out_of_range(mnist, image):
    executor = EngineExecutor(protect(mnist, "abft,range"), on_fault="flag")
    assert not executor.run([image]).findings
    told = set()
    for step, s in enumerate(mnist.steps):
        if "buffer" not in executor.sites()[step] or step + 1 == len(mnist.steps):
            continue
        executor.arm(Fault("buffer", step, 4 * (mnist.slots[s.outputs[0]].elements // 2), 0x60000000))
        told |= {f.check for f in executor.run([image]).findings}
    assert told == {"range"}


@needs_engine
def test_a_value_out_of_range_is_right_after_the_run_was_begun_again(mnist, image):
    executor = EngineExecutor(protect(mnist, "abft,range"), on_fault="retry")
    clean = bits(executor.run([image]))
    executor.arm(Fault("buffer", 0, 4, 0x60000000))
    run = executor.run([image])
    assert [(f.check, f.action) for f in run.findings] == [("range", "rerun")] and bits(run) == clean


@needs_engine
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-20, 1.0, 1e15, 1e30, -1e30])
def test_no_input_is_out_of_range(mnist, image, scale):
    executor = EngineExecutor(protect(mnist, "abft,range"))
    for x in (image, image - 0.5, (image > 0.9).astype(np.float32)):
        assert "range" not in kinds(executor.run([x * np.float32(scale)]))


# -- duplicate ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_step_computed_twice_tells_where_it_differs(kind):
    executor = kind(protect(chain(2, 100), "duplicate"))
    x = np.full((1, 100), 2.0, np.float32)
    executor.arm(Fault("result", 1, 41, 1))  # the last bit
    found = executor.run([x]).findings
    assert [(f.check, f.step, f.index, f.expected) for f in found] == [("duplicate", 1, 41, 2.0)]
    assert found[0].got == np.nextafter(np.float32(2), np.float32(3))
    assert not executor.run([x]).findings


@needs_engine
@pytest.mark.parametrize(("mode", "check"), [("abft,duplicate", "abft"), ("duplicate", "duplicate")])
def test_steps_that_a_checksum_covers_are_not_computed_twice(mnist, image, mode, check):
    executor = EngineExecutor(protect(mnist, mode))
    step = next(k for k, s in enumerate(mnist.steps) if s.kernel == "conv2d_f32")
    executor.capture(step)
    executor.run([image])
    largest = int(np.argmax(np.frombuffer(executor.captured(), np.float32)))
    executor.arm(Fault("accumulator", step, largest, 1 << 28))  # a factor of 2^32, or its inverse
    assert kinds(executor.run([image])) == {check}


# -- which steps carry what -----------------------------------------------------------------------------------------------

def test_presets_put_kinds_on_steps(mnist):
    def carried(mode: str) -> set[str]:
        return {c.kind for s in protect(mnist, mode).steps for c in s.checks}

    assert carried("standard") == {"maed", "abft", "range", "weights", "flow"}
    assert carried("full") == {"maed", "abft", "range", "weights", "flow", "buffers", "duplicate"}
    assert carried("flow,weights") == {"weights", "flow"}


@pytest.mark.parametrize("value", [-1, 1.5, "many"])
def test_scrub_bytes_is_a_whole_number(value):
    with pytest.raises(OptionError, match="scrub_bytes: expected"):
        edgerun.Session(MNIST, scrub_bytes=value)
