"""Exits: order of work, where a run may stop, what the points say, and errors in the metadata."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgerun.errors import ModelFormatError, PolicyError
from edgerun.executors.python import PythonExecutor
from edgerun.exits.difficulty import DifficultyConfig
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import Policy

DIFFICULTY = DifficultyConfig(0.3, (0.0, 0.0, 0.0), (1.0, 0.1, 0.5))


def with_metadata(model: onnx.ModelProto, key: str, value: str | None) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [p for p in copy.metadata_props if p.key != key]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    if value is not None:
        copy.metadata_props.add(key=key, value=value)
    return copy


@pytest.fixture
def model(exit_bytes: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(exit_bytes)


def test_work_is_ordered_by_exit(model) -> None:
    assert [s.kernel for s in make_plan(load(model)).steps] == [
        "conv2d_f32", "global_average_pool_f32", "matmul_f32", "exit", "conv2d_f32", "global_average_pool_f32", "matmul_f32"]


def test_segments(model) -> None:
    assert [s.segment for s in make_plan(load(model)).steps] == [0, 0, 0, 0, 1, 1, 1]


def test_points(model) -> None:
    plan = make_plan(load(model))
    assert [(e.name, e.step, e.logits) for e in plan.exits] == [("exit1", 3, True), ("final", 7, True)]


def test_work_up_to_each_exit(model) -> None:
    first = 4 * 4 * 4 * 9 + 4 * 3
    assert [e.macs for e in make_plan(load(model)).exits] == [first, first + 4 * 4 * 4 * 4 * 9 + 4 * 3]


def test_the_order_of_the_metadata_counts(model) -> None:
    plan = make_plan(load(with_metadata(model, "edgerun.exits", '["final", "exit1"]')))
    assert [e.name for e in plan.exits] == ["final", "exit1"]
    assert [p.name for p in plan.outputs] == ["exit1", "final"]


def test_names_may_be_separated_by_commas(model) -> None:
    assert [e.name for e in make_plan(load(with_metadata(model, "edgerun.exits", "exit1, final"))).exits] == ["exit1", "final"]


@pytest.mark.parametrize("text", ['["exit1", "nowhere"]', '["exit1"', '["exit1", "exit1"]'], ids=["unknown", "damaged", "twice"])
def test_metadata_that_is_wrong(model, text: str) -> None:
    with pytest.raises(ModelFormatError, match=r"edgerun\.exits"):
        make_plan(load(with_metadata(model, "edgerun.exits", text)))


def test_a_policy_needs_exits(model) -> None:
    with pytest.raises(PolicyError, match=r"edgerun\.exits"):
        make_plan(load(with_metadata(model, "edgerun.exits", None)), policy=Policy("confidence", (0.5,)))


def test_a_run_that_stops_computes_nothing_more(model, image) -> None:
    run = PythonExecutor(make_plan(load(model), policy=Policy("confidence", (0.0,)))).run([image])
    assert (run.exit_index, run.steps_run, run.outputs[1]) == (0, 4, None)


def test_answers_do_not_depend_on_the_policy(model, image) -> None:
    stop = PythonExecutor(make_plan(load(model), policy=Policy("confidence", (0.0,)))).run([image])
    full = PythonExecutor(make_plan(load(model))).run([image])
    np.testing.assert_array_equal(stop.outputs[0], full.outputs[0])


def test_a_softmax_exit_has_no_logits(model_of) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["p"], "soft"), helper.make_node("Relu", ["x"], ["q"], "relu")]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1, 4])], [("p", TensorProto.FLOAT, [1, 4]), ("q", TensorProto.FLOAT, [1, 4])],
                     metadata={"edgerun.exits": '["p", "q"]'})
    assert [e.logits for e in make_plan(load(model)).exits] == [False, True]


def test_an_exit_of_integers_is_refused(model_of) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["p"], "arg", axis=1), helper.make_node("Relu", ["x"], ["q"], "relu")]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1, 4])], [("p", TensorProto.INT64, [1, 1]), ("q", TensorProto.FLOAT, [1, 4])],
                     metadata={"edgerun.exits": '["p", "q"]'})
    with pytest.raises(ModelFormatError, match="'p'"):
        make_plan(load(model))


def test_difficulty_is_the_first_step(model) -> None:
    plan = make_plan(load(model), policy=Policy("dart", (0.5,)), difficulty=DIFFICULTY)
    assert plan.steps[0].kernel == "difficulty_f32"
    assert plan.slots[plan.difficulty.slot].shape == (4,)


def test_difficulty_sees_pixels(model, image) -> None:
    """pixel = (x·std + mean) / (255·scale): the recipe of the model is undone."""
    step = make_plan(load(model), difficulty=DIFFICULTY).steps[0]
    assert (step.attrs["layout"], step.attrs["scale"], step.attrs["offset"], step.attrs["gray"]) == ((0,), (0.25,), (0.5,), (1.0,))


def test_difficulty_survives_the_run(model, image) -> None:
    run = PythonExecutor(make_plan(load(model), difficulty=DIFFICULTY)).run([image])
    assert 0 < run.difficulty[0] <= 1


def test_difficulty_needs_the_recipe(model) -> None:
    with pytest.raises(PolicyError, match=r"edgerun\.preprocess"):
        make_plan(load(with_metadata(model, "edgerun.preprocess", None)), difficulty=DIFFICULTY)


def test_difficulty_judges_one_image(model) -> None:
    with pytest.raises(PolicyError, match="one float32 image"):
        make_plan(load(model, shapes={"image": (2, 1, 4, 4)}), difficulty=DIFFICULTY)
