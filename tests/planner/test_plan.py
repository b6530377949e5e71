"""Plans as a whole: If, outputs, checks, fallbacks, strictness, description."""

from __future__ import annotations

import json
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgerun.errors import EdgeRunWarning, OptionError, PlanError, UnsupportedOpError
from edgerun.executors.python import PythonExecutor
from edgerun.guards import annotate
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.show import blocks, describe, summary

F, B = TensorProto.FLOAT, TensorProto.BOOL
node = helper.make_node


def if_model(model_of, then_nodes, else_nodes, result="r"):
    branches = {
        name: helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name[0]}{result}", F, None)])
        for name, nodes in (("then_branch", then_nodes), ("else_branch", else_nodes))
    }
    nodes = [node("Relu", ["x"], ["h"], "relu"), node("If", ["c"], ["y"], "choose", **branches)]
    return model_of(nodes, [("x", F, [1, 4]), ("c", B, [])], [("y", F, [1, 4])], {"two": np.float32(2)})


@pytest.fixture
def branching(model_of):
    return if_model(model_of, [node("Mul", ["h", "two"], ["a"], "m"), node("Exp", ["a"], ["tr"], "e")],
                    [node("Identity", ["h"], ["er"], "i")])


X = np.array([[-1.0, 0.5, 2.0, 3.0]], np.float32)


@pytest.mark.parametrize("condition", [True, False])
def test_if_answers(branching, run_plan, condition: bool) -> None:
    feeds = {"x": X, "c": np.array(condition)}
    outputs, _ = run_plan(branching, feeds)
    np.testing.assert_allclose(outputs[0], ReferenceEvaluator(branching).run(None, feeds)[0], rtol=1e-6)


def test_if_is_flat_control_flow(branching) -> None:
    steps = make_plan(load(branching)).steps
    assert [s.kernel for s in steps] == ["relu_f32", "branch", "mul_f32", "exp_f32", "jump", "copy_x32"]
    assert (steps[1].attrs["target"], steps[4].attrs["target"]) == ((5,), (6,))


@pytest.mark.parametrize(("condition", "ran"), [(True, 5), (False, 3)])
def test_only_the_taken_branch_is_computed(branching, condition: bool, ran: int) -> None:
    assert PythonExecutor(make_plan(load(branching))).run([X, np.array(condition)]).steps_run == ran


def test_branches_that_disagree_in_shape_are_not_ours(model_of) -> None:
    model = if_model(model_of, [node("Relu", ["h"], ["tr"])], [node("ReduceSum", ["h"], ["er"], keepdims=1)])
    with pytest.warns(EdgeRunWarning):
        plan = make_plan(load(model))
    assert [s.kernel for s in plan.steps][-1] == "onnx_graph"


@pytest.mark.parametrize("outputs", [("x",), ("k",), ("y", "v")], ids=["an input", "a constant", "a view twice"])
def test_every_output_has_bytes_of_its_own(model_of, run_plan, outputs) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Reshape", ["y", "s"], ["v"])]
    shapes = {"x": [1, 4], "k": [3], "y": [1, 4], "v": [2, 2]}
    constants = {"k": np.float32([1, 2, 3]), "s": np.array([2, 2])}
    model = model_of(nodes, [("x", F, [1, 4])], [(n, F, shapes[n]) for n in outputs], constants)
    found, plan = run_plan(model, {"x": X})
    h = np.maximum(X, 0)
    expected = {"x": X, "k": constants["k"], "y": h, "v": h.reshape(2, 2)}
    assert all(np.array_equal(value, expected[name]) for value, name in zip(found, outputs, strict=True))
    ports = [plan.slots[p.slot] for p in plan.outputs]
    assert len({s.offset for s in ports}) == len(ports)
    assert all(s.place == "arena" for s in ports)


@pytest.mark.parametrize(("op", "attrs", "bound"), [
    ("Relu", {}, 0.0), ("Sigmoid", {}, 16 * 2.0**-23), ("Tanh", {}, 16 * 2.0**-23), ("LeakyRelu", {}, 0.0), ("Elu", {}, 16 * 2.0**-23),
    ("Softmax", {"axis": -1}, 64 * 2.0**-23), ("LogSoftmax", {"axis": -1}, 64 * 2.0**-23), ("Exp", {}, 16 * 2.0**-23),
    ("Erf", {}, 16 * 2.0**-23),
])
def test_activations_are_checked(model_of, op: str, attrs, bound: float) -> None:
    plan = make_plan(load(model_of([node(op, ["x"], ["y"], **attrs)], [("x", F, [1, 4])], [("y", F, [1, 4])])))
    assert [(c.kind, c.bound) for c in plan.steps[0].checks] == [("maed", bound)]


def test_moving_bytes_is_not_checked(model_of) -> None:
    plan = make_plan(load(model_of([node("Concat", ["x", "x"], ["y"], axis=0)], [("x", F, [1, 4])], [("y", F, [2, 4])])))
    assert plan.steps[0].checks == ()


def test_checks_can_be_off(exit_bytes: bytes) -> None:
    assert all(s.checks == () for s in make_plan(load(exit_bytes), checks="off").steps)


def test_checks_can_be_switched_on_later(exit_bytes: bytes) -> None:
    off, on = make_plan(load(exit_bytes), checks="off"), make_plan(load(exit_bytes))
    assert [s.checks for s in annotate(off, "maed").steps] == [s.checks for s in on.steps]


def test_an_unknown_check_is_refused(exit_bytes: bytes) -> None:
    with pytest.raises(OptionError, match="crc"):
        make_plan(load(exit_bytes), checks="crc")


@pytest.fixture
def unusual(model_of):
    """ReverseSequence has no kernel here (yet)."""
    nodes = [node("Relu", ["x"], ["h"], "relu"), node("ReverseSequence", ["h", "n"], ["y"], "strange", time_axis=1, batch_axis=0)]
    return model_of(nodes, [("x", F, [1, 4])], [("y", F, [1, 4])], {"n": np.array([4])})


def test_an_operator_without_a_kernel_falls_back_with_a_warning(unusual) -> None:
    with pytest.warns(EdgeRunWarning, match=r"ReverseSequence.*strange"):
        plan = make_plan(load(unusual))
    assert plan.fallbacks == ((1, "strange", "ReverseSequence", "no kernel"),)


def test_a_fallback_carries_its_node_as_a_model(unusual) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeRunWarning)
        plan = make_plan(load(unusual))
    blob = plan.constants[plan.slots[plan.steps[1].inputs[0]].offset]
    assert onnx.load_from_string(blob.tobytes()).graph.node[0].op_type == "ReverseSequence"


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_a_fallback_answers(unusual, run_plan) -> None:
    h = np.maximum(X, 0)
    np.testing.assert_allclose(run_plan(unusual, {"x": X})[0][0], h[:, ::-1])


def test_strict_refuses_a_fallback(unusual) -> None:
    with pytest.raises(UnsupportedOpError, match=r"ReverseSequence.*strange"):
        make_plan(load(unusual), strict=True)


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_types_without_kernels_fall_back(model_of, run_plan) -> None:
    kind = TensorProto.DOUBLE
    outputs, plan = run_plan(model_of([node("Tanh", ["x"], ["y"])], [("x", kind, [1, 4])], [("y", kind, [1, 4])]),
                             {"x": X.astype(np.float64)})
    assert len(plan.fallbacks) == 1
    np.testing.assert_allclose(outputs[0], np.tanh(X), rtol=1e-6)


def test_shapes_that_depend_on_data_make_one_step_of_the_model(model_of) -> None:
    model = model_of([node("NonZero", ["x"], ["y"], "nz")], [("x", F, [1, 4])], [("y", TensorProto.INT64, [2, "n"])])
    with pytest.warns(EdgeRunWarning, match="depends on data"):
        plan = make_plan(load(model))
    assert [s.kernel for s in plan.steps] == ["onnx_graph"]
    assert plan.fallbacks == ()


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_such_a_model_lists_what_the_reference_runs(model_of) -> None:
    model = model_of([node("Unique", ["x"], ["y"], "u")], [("x", F, [1, 4])], [("y", F, ["n"])])
    assert make_plan(load(model)).fallbacks == ((0, "u", "Unique", "no kernel"),)


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_the_body_of_a_loop_stays_onnx(model_of, run_plan) -> None:
    """h·2³ by a Loop whose body uses h and a value computed by a fused step outside."""
    body = helper.make_graph(
        [node("Identity", ["cond"], ["cond_out"]), node("Mul", ["acc", "two"], ["acc_out"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("cond", B, []),
         helper.make_tensor_value_info("acc", F, [1, 4])],
        [helper.make_tensor_value_info("cond_out", B, []), helper.make_tensor_value_info("acc_out", F, [1, 4])])
    model = model_of([node("Relu", ["x"], ["h"]), node("Loop", ["n", "go", "h"], ["y"], "loop", body=body)], [("x", F, [1, 4])],
                     [("y", F, [1, 4])], {"n": np.array(3), "go": np.array(True), "two": np.float32(2)})
    np.testing.assert_array_equal(run_plan(model, {"x": X})[0][0], np.maximum(X, 0) * 8)


def test_a_graph_is_used_up_by_its_plan(exit_bytes: bytes) -> None:
    graph = load(exit_bytes)
    make_plan(graph)
    with pytest.raises(PlanError, match="import the model again"):
        make_plan(graph)


def test_planning_is_deterministic(exit_bytes: bytes) -> None:
    assert describe(make_plan(load(exit_bytes))) == describe(make_plan(load(exit_bytes)))


def test_the_summary_is_json(exit_bytes: bytes) -> None:
    said = json.loads(json.dumps(summary(make_plan(load(exit_bytes)))))
    assert [s["kernel"] for s in said["steps"]][3] == "exit"
    assert [e["name"] for e in said["exits"]] == ["exit1", "final"]


def test_the_description_shows_steps_exits_and_memory(exit_bytes: bytes) -> None:
    text = describe(make_plan(load(exit_bytes)))
    assert "Conv+Relu" in text
    assert "exit1" in text
    assert "memory map" in text


def test_blocks_of_the_memory_map_do_not_overlap(exit_bytes: bytes) -> None:
    found = blocks(make_plan(load(exit_bytes)))
    clashes = [(a, b) for i, a in enumerate(found) for b in found[:i]
               if a.first < b.last and b.first < a.last and a.offset < b.offset + b.size and b.offset < a.offset + a.size]
    assert clashes == []


def test_every_constant_is_read_only(exit_bytes: bytes) -> None:
    assert not any(c.flags.writeable for c in make_plan(load(exit_bytes)).constants)
