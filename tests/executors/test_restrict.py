"""The reaction "restrict": what stays wrong is cut off at the ranges that calibration saw, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun.errors import DataError
from edgerun.executors import engine
from edgerun.executors.base import Fault
from edgerun.executors.engine import EngineExecutor
from edgerun.planner import ranges
from edgerun.planner.protect import protect

MNIST = Path(__file__).resolve().parents[2] / "models/zoo/mnist_alexnet/model.onnx"
EXPONENT = 1 << 30
pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


@pytest.fixture(scope="module")
def feeds():
    return [np.random.default_rng(3).random((1, 1, 28, 28), np.float32)]


@pytest.fixture(scope="module")
def bare():
    with edgerun.Session(MNIST, checks="off", on_fault="retry") as session:  # buffers that a step can be computed again from
        return session.plan


@pytest.fixture(scope="module")
def seen(bare, feeds):
    executor, found = EngineExecutor(bare), {}
    for k, step in enumerate(bare.steps):
        if step.kernel in ("exit", "difficulty_f32"):
            continue
        executor.capture(k)
        executor.run(feeds)
        values = np.frombuffer(executor.captured(), np.float32)
        found[bare.slots[step.outputs[0]].name] = float(values.min()), float(values.max())
    return found


def plan_of(bare, seen, checks="abft,range"):
    return protect(replace(bare, metadata={**bare.metadata, ranges.KEY: ranges.dumps(seen)}), checks)


def products(plan):
    return [k for k, s in enumerate(plan.steps) if any(c.kind == "abft" for c in s.checks)]


def largest(plan, feeds, step):
    """Where the step's greatest result below 2 is: there the exponent's highest bit is not set yet, and shows whatever the activation."""
    executor = EngineExecutor(plan)
    executor.capture(step)
    executor.run(feeds)
    values = np.frombuffer(executor.captured(), np.float32)
    return int(np.argmax(np.where(values < 2, values, -np.inf)))


def answer(run):
    return int(np.argmax(run.outputs[-1])) if np.isfinite(run.outputs[-1]).all() else -1


def test_the_answer_survives_a_fault_that_stays(bare, seen, feeds):
    plan, wrong, restricted = plan_of(bare, seen), 0, 0
    clean = EngineExecutor(plan).run(feeds)
    for step in products(plan)[:-1]:
        fault = Fault("accumulator", step, largest(plan, feeds, step), EXPONENT, mode="set", runs=100)
        retry, restrict = EngineExecutor(plan, on_fault="retry"), EngineExecutor(plan, on_fault="restrict")
        retry.arm(fault)
        restrict.arm(fault)
        before, after = retry.run(feeds), restrict.run(feeds)
        if not before.findings:  # the bit was set
            continue
        assert [f.action for f in before.findings][:2] == ["rerun", "reported"]
        assert (after.findings[1].step, after.findings[1].permanent, after.findings[1].cured) == (step, True, False)
        if after.findings[1].action == "reported":  # a sum that a tile of Winograd's makes negative: no result is out of range
            continue
        restricted += 1
        assert [f.action for f in after.findings] == ["rerun", "restricted"]
        assert answer(after) == answer(clean)
        wrong += answer(before) != answer(clean)
    assert restricted >= 3 and wrong >= 1


def test_an_operand_out_of_range_is_cut_off(bare, seen, feeds):
    plan = plan_of(bare, seen)
    clean, reader = EngineExecutor(plan).run(feeds), products(plan)[1]
    read = plan.slots[plan.steps[reader].inputs[0]].offset
    writer = max(k for k in range(reader) if plan.slots[plan.steps[k].outputs[0]].offset == read)
    executor = EngineExecutor(plan, on_fault="restrict")
    executor.capture(writer)
    executor.run(feeds)
    values = np.frombuffer(executor.captured(), np.float32)
    middle = int(np.argmax((values > 0.1) & (values < 0.9)))
    executor.arm(Fault("buffer", writer, 4 * middle + 3, 0x40, mode="set", runs=100))  # its exponent
    run = executor.run(feeds)
    assert [(f.step, f.action) for f in run.findings] == [(reader, "rerun"), (reader, "restricted")]
    assert answer(run) == answer(clean)


@pytest.mark.parametrize("checks", ["abft,range", "full"])
def test_clean_runs_and_transient_faults_keep_their_bits(bare, seen, feeds, checks):
    plan = plan_of(bare, seen, checks)
    clean = EngineExecutor(protect(bare, "off")).run(feeds)
    executor = EngineExecutor(plan, on_fault="restrict")
    assert executor.run(feeds).findings == ()
    executor.arm(Fault("accumulator", products(plan)[1], 7, EXPONENT))
    run = executor.run(feeds)
    assert [f.action for f in run.findings] == ["corrected"]
    assert [y.tobytes() for y in run.outputs] == [y.tobytes() for y in clean.outputs]
    larger = [20 * feeds[0]]  # beyond what was seen, without a fault: left alone
    assert [y.tobytes() for y in executor.run(larger).outputs] == [y.tobytes() for y in EngineExecutor(bare).run(larger).outputs]


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_over_buffers_follow(bare, seen, feeds, threads):
    """In `full` what was cut off is summed again, so its readers have nothing to tell."""
    plan = plan_of(bare, seen, "full")
    executor = EngineExecutor(plan, threads=threads, on_fault="restrict")
    step = products(plan)[0]
    executor.arm(Fault("accumulator", step, largest(plan, feeds, step), EXPONENT, mode="set", runs=100))
    assert [(f.step, f.action) for f in executor.run(feeds).findings] == [(step, "rerun"), (step, "restricted")]


def test_what_was_altered_elsewhere_does_not_cut_results_off(bare, feeds):
    """A result that only its memory altered, and steps out of ranges that are too narrow, but right: as with "retry"."""
    narrow = {s.name: (0.0, 1e-3) for s in bare.slots}
    plan, found = plan_of(bare, narrow, "abft,range,buffers"), []
    for on_fault in ("retry", "restrict"):
        executor = EngineExecutor(plan, on_fault=on_fault)
        executor.arm(Fault("buffer", products(plan)[1], 0, 1, runs=100))
        run = executor.run(feeds)
        assert any(f.check == "buffers" for f in run.findings) and not any(f.action == "restricted" for f in run.findings)
        found.append([y.tobytes() for y in run.outputs])
    assert found[0] == found[1]


def test_without_a_range_it_is_reported(bare, seen, feeds):
    step = products(plan_of(bare, {}))[0]
    name = bare.slots[bare.steps[step].outputs[0]].name
    for known in ({}, {k: v for k, v in seen.items() if k != name}):
        executor = EngineExecutor(plan_of(bare, known), on_fault="restrict")
        executor.arm(Fault("accumulator", step, 7, EXPONENT, mode="set", runs=100))
        assert [f.action for f in executor.run(feeds).findings][:2] == ["rerun", "reported"]


def test_only_the_check_range_takes_them_along(bare, seen):
    assert not any("restrict" in s.attrs for s in plan_of(bare, seen, "abft").steps)
    assert sum("restrict" in s.attrs for s in plan_of(bare, seen).steps) == len([n for n in seen if any(n == s.name for s in bare.slots)])


@pytest.mark.parametrize(("text", "said"), [
    ("", "expected JSON"), ("[]", "JSON object"), ("[" * 100_000, "expected JSON"), ('{"a": 3}', "a: expected two finite numbers"),
    ('{"a": [2, 1]}', "a: expected"), ('{"a": [NaN, 1]}', "a: expected"), ('{"a": [0, 1e39]}', "a: expected"),
    ('{"a": [0, true]}', "a: expected"), ('{"a": [0, 1, 2]}', "a: expected"), ('{"a": [0, 1' + "0" * 400 + "]}", "a: expected"),
])
def test_damaged_metadata_are_refused(bare, text, said):
    with pytest.raises(DataError, match=said):
        protect(replace(bare, metadata={ranges.KEY: text}), "standard")
    assert protect(replace(bare, metadata={ranges.KEY: text}), "maed")  # which does not read them
