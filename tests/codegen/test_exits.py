"""Generated C leaves at the exits where the engine leaves, with its scores, for every policy; and what it refuses."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from exit_plans import EXITS, POLICIES, image, plan_of
from firmware import SANITIZED, agree, build, of_plan

from edgerun import Session
from edgerun.errors import PolicyError, ShapeError
from edgerun.executors.base import RawRun
from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import Plan, Policy, Port, Slot, Step
from edgerun_tools import exit_runs
from edgerun_tools.codegen import exits, generate
from edgerun_tools.codegen.command import codegen

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "models/zoo/mnist_alexnet/model.onnx"
DIGITS = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "sets/mnist").resolve()
NAMES = [n for n in POLICIES if not n.startswith("deadline")]
QUICK = ("confidence, tempered", "entropy", "patience", "dart, everything")
"""Policies whose tables hold what those of the others hold."""
IMAGES = 40


def scores(run: RawRun, plan: Plan) -> np.ndarray:
    """Those of the exit taken."""
    slot = plan.exits[run.exit_index].slot
    return np.asarray(run.outputs[next(k for k, p in enumerate(plan.outputs) if p.slot == slot)])


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NAMES if n != "none"])
def test_it_leaves_where_the_executor_leaves(name, tmp_path):
    plan = plan_of(POLICIES[name])
    feeds = [[image(seed)] for seed in range(IMAGES)]
    runner = PythonExecutor(plan)
    for (found, said), feed in zip(build(of_plan(plan), tmp_path).reported(feeds), feeds, strict=True):
        expected = runner.run(feed)
        assert said.exit_taken == expected.exit_index
        assert agree(found[0], scores(expected, plan))


def test_the_policies_reach_every_exit():
    reached = {n: {PythonExecutor(plan_of(POLICIES[n])).run([image(seed)]).exit_index for seed in range(IMAGES)} for n in NAMES}
    assert set().union(*reached.values()) == set(range(EXITS))
    assert len(reached["dart, everything"]) > 1
    assert reached["never"] == {EXITS - 1}


def test_without_a_policy_nothing_is_decided(tmp_path):
    firmware = of_plan(plan_of(Policy()))
    assert "er_exit" not in firmware.sources.source
    assert "int net_run(const float *x, float *e0, float *e1, float *e2, net_report *report);" in firmware.sources.header
    (found, said), = build(firmware, tmp_path).reported([[image(1)]])
    assert (len(found), said.exit_taken) == (EXITS, EXITS - 1)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_nothing_is_computed_in_double(compiler, tmp_path):
    firmware = of_plan(plan_of(POLICIES["dart, everything"]))
    assert build(firmware, tmp_path, compiler, ("-O2", "-Wdouble-promotion")).run([]) == []


@pytest.mark.parametrize("broken", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, EXITS))])
def test_a_nan_never_leaves(broken, tmp_path):
    """Of the image, and so of difficulty and scores."""
    plan = plan_of(POLICIES[("dart", "dart, everything", "confidence")[broken]])
    bad = image(0)
    bad[0, 0, 2, 3] = np.nan
    (_, said), = build(of_plan(plan), tmp_path).reported([[bad]])
    assert said.exit_taken == PythonExecutor(plan).run([bad]).exit_index == EXITS - 1


# -- the interface ----------------------------------------------------------------------------------------------------


def test_header_and_manifest_have_one_array_of_scores(tmp_path):
    firmware = of_plan(plan_of(POLICIES["dart"]))
    assert "int net_run(const float *x, float *scores, net_report *report);" in firmware.sources.header
    assert f"#define NET_EXITS {EXITS}" in firmware.sources.header
    assert "1: 'e1', probabilities, after 2 multiply-accumulates" in firmware.sources.header
    firmware.write(tmp_path)
    text = (tmp_path / "firmware.json").read_text()
    assert '"scores"' in text
    assert '"e0"' not in text.split('"outputs"')[1].split('"exits"')[0]


@pytest.fixture
def branching(tmp_path) -> str:
    """A model file: image → exit1, final, and outputs that are no exits: `early` from the part before exit1, `scores` from behind it."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    shapes = {"w1": (4, 1, 3, 3), "w2": (4, 4, 3, 3), "h1": (4, 3), "h2": (4, 3)}
    constants = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c1"], ["r1"]),
             helper.make_node("GlobalAveragePool", ["r1"], ["early"]), helper.make_node("Flatten", ["early"], ["f1"]),
             helper.make_node("Gemm", ["f1", "h1"], ["exit1"]), helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
             helper.make_node("GlobalAveragePool", ["c2"], ["scores"]), helper.make_node("Flatten", ["scores"], ["f2"]),
             helper.make_node("Gemm", ["f2", "h2"], ["final"])]
    outputs = [("scores", [1, 4, 1, 1]), ("exit1", [1, 3]), ("early", [1, 4, 1, 1]), ("final", [1, 3])]
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 4, 4])],
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="edgerun.exits", value='["exit1", "final"]')
    onnx.save(model, tmp_path / "m.onnx")
    return str(tmp_path / "m.onnx")


@pytest.mark.parametrize(("threshold", "taken"), [(-1.0, 0), (2.0, 1)])
def test_other_outputs_are_written_where_they_were_reached(threshold, taken, branching, tmp_path):
    with Session(branching, checks="off", exit_policy="confidence", thresholds=(threshold,)) as session:
        firmware = generate.of_session(session, "net", "a test")
        assert "int net_run(const float *image, float *exit_scores, float *scores, float *early, net_report *report);" \
            in firmware.sources.header
        x = np.random.default_rng(1).standard_normal((1, 1, 4, 4)).astype(np.float32)
        (found, said), = build(firmware, tmp_path / "c").reported([[x]])
        whole = session.run(x)
    assert said.exit_taken == whole.exit.index == taken
    assert agree(found[0], whole.scores)
    assert agree(found[1], whole.outputs["scores"] if taken else np.zeros((1, 4, 1, 1), np.float32))
    assert agree(found[2], whole.outputs["early"])


def test_the_selftest_sees_weights_behind_the_exit_taken(branching, tmp_path):
    with Session(branching, checks="off", exit_policy="confidence", thresholds=(-1.0,)) as session:
        firmware = generate.of_session(session, "net", "a test")
    last = max(k for k, s in enumerate(firmware.plan.steps) if s.kernel != "exit")
    source, changed = re.subn(rf"(step{last}_weights\[\d+\] = \{{\s+)[^,]+,", r"\g<1>100.0f,", firmware.sources.source)
    assert changed == 1
    broken = replace(firmware, sources=replace(firmware.sources, source=source))
    with pytest.raises(AssertionError, match="90"):
        build(broken, tmp_path / "c", flags=("-O1",)).run([])


# -- with checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reaction", ["retry", *(pytest.param(r, marks=pytest.mark.slow) for r in ("flag", "abort"))])
def test_with_all_checks_it_leaves_where_the_engine_leaves(reaction, branching, tmp_path):
    rng = np.random.default_rng(1)
    feeds = [[(rng.standard_normal((1, 1, 4, 4)) * rng.random()).astype(np.float32)] for _ in range(IMAGES)]
    with Session(branching, checks="full", on_fault=reaction, exit_policy="confidence", thresholds=(0.6,)) as session:
        firmware = generate.of_session(session, "net", "a test", reaction=reaction)
        expected = [session.run_raw(feed) for feed in feeds]
    found = build(firmware, tmp_path / "c").reported(feeds)
    assert [said.exit_taken for _, said in found] == [e.exit_index for e in expected]
    assert all(agree(f[0], scores(e, firmware.plan)) for (f, _), e in zip(found, expected, strict=True))
    assert {(said.status, said.faults, said.first_step) for _, said in found} == {(0, 0, -1)}
    early, late = ({said.checks_passed for _, said in found if said.exit_taken == k} for k in (0, 1))
    assert 0 < max(early) < min(late)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_deadline_needs_a_clock(branching, tmp_path):
    with pytest.raises(PolicyError, match=r"exit policy deadline: generated C has no clock.*thresholds 2 before it and -1"):
        codegen(branching, str(tmp_path / "c"), exit_policy="deadline")
    with pytest.raises(PolicyError, match="exit policy deadline"):
        of_plan(plan_of(POLICIES["deadline, all time"]))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("policy", "said"), [("dart", "expected a calibrated model"), ("fast", "expected one of")])
def test_policies_that_cannot_be(policy, said, branching, tmp_path):
    with pytest.raises(PolicyError, match=said):
        codegen(branching, str(tmp_path / "c"), exit_policy=policy)


def test_exits_have_equally_many_classes():
    plan = plan_of(POLICIES["confidence"])
    last = plan.exits[-1].slot
    slots = tuple(replace(s, shape=(1, 3)) if k == last else s for k, s in enumerate(plan.slots))
    with pytest.raises(ShapeError, match="expected exits of equally many classes; found e0: 4, e1: 4, e2: 3"):
        exits.refuse(replace(plan, slots=slots))


# -- difficulty -------------------------------------------------------------------------------------------------------

CASES = {"a pixel": (0, 1, 1, 1), "a row": (0, 1, 1, 7), "a column": (1, 5, 1, 1), "gray": (0, 1, 28, 28), "colour": (0, 3, 9, 13),
         "colour, channels last": (1, 12, 11, 3), "five channels": (0, 5, 6, 8), "two rows": (1, 2, 6, 3)}


def difficulty_plan(layout: int, *shape: int) -> Plan:
    """One step: x [1, *shape] → d [4]."""
    channels = shape[2] if layout else shape[0]
    gray = (0.299, 0.587, 0.114) if channels == 3 else (1.0 / channels,) * channels
    attrs = {"layout": (layout,), "scale": tuple(0.2 + 0.01 * c for c in range(channels)), "offset": (0.4,) * channels, "gray": gray,
             "tau_edge": (0.5,), "low": (0.1, 0.01, 0.1), "high": (0.9, 0.06, 0.9), "weights": (0.4, 0.3, 0.3)}
    slots = (Slot("x", "f32", (1, *shape), "input", 0), Slot("d", "f32", (4,), "arena", 0))
    return Plan(slots, (Step("difficulty_f32", (0,), (1,), attrs),), (), (Port("x", 0),), (Port("d", 1),), 64)


@pytest.mark.parametrize("name", CASES)
def test_difficulty(name, tmp_path):
    plan = difficulty_plan(*CASES[name])
    rng = np.random.default_rng(2)
    feeds = [[(rng.standard_normal(plan.slots[0].shape) * s).astype(np.float32)] for s in (0.0, 0.3, 1.0)]
    feeds.append([np.where(rng.random(plan.slots[0].shape) < 0.1, np.nan, feeds[2][0]).astype(np.float32)])
    feeds[3][0].reshape(-1)[0] = np.nan
    runner = PythonExecutor(plan)
    for (found,), feed in zip(build(of_plan(plan), tmp_path, flags=SANITIZED).run(feeds), feeds, strict=True):
        np.testing.assert_allclose(found, runner.run(feed).outputs[0], rtol=2e-6, atol=2e-6)


# -- a net of the zoo -------------------------------------------------------------------------------------------------

REAL = {"confidence": {}, "entropy": {"thresholds": (0.97, 0.9)}, "patience": {}, "dart": {}}


@pytest.mark.parametrize("policy", ["dart", *(pytest.param(p, marks=pytest.mark.slow) for p in REAL if p != "dart")])
def test_decisions_on_real_digits(policy, tmp_path):
    """The calibrated tables, and thresholds under which some images go to the end; held against the engine where it is built."""
    if not DIGITS.is_dir():
        pytest.skip("sets/mnist is not in EDGERUN_DATA")
    with Session(MNIST, checks="off", threads=1, exit_policy=policy, **REAL[policy]) as session:
        tensors = exit_runs.Tensors(session, exit_runs.load(str(DIGITS), "test", 100))
        feeds = [[tensors[k]] for k in range(len(tensors))]
        expected = [session.run_raw(feed) for feed in feeds]
        firmware = generate.of_session(session, "net", MNIST.name)
    found = build(firmware, tmp_path, flags=("-O1",)).reported(feeds)
    assert [said.exit_taken for _, said in found] == [e.exit_index for e in expected]
    assert len({e.exit_index for e in expected}) > 1
    assert all(agree(f[0], scores(e, firmware.plan)) for (f, _), e in zip(found, expected, strict=True))
