"""The Python executor on plans made by hand: steps, views, control flow, exits, checks, faults, fallback, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgerun.errors import InputError, PlanError, ShapeError, UnsupportedOpError
from edgerun.executors.dynamic import DynamicExecutor
from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import Check, Difficulty, ExitPoint, Plan, Policy, Port, Slot, Step

MAED = (Check("maed"),)


def arena(name: str, offset: int, shape: tuple[int, ...] = (1, 4), dtype: str = "f32") -> Slot:
    return Slot(name, dtype, shape, "arena", offset)


def exits_plan(policy: Policy) -> Plan:
    """x → relu → exit 0; relu + x → exit 1; doubled → last exit. Scores are probabilities as they are."""
    slots = (Slot("x", "f32", (1, 4), "input", 0), arena("a", 0), arena("b", 64), arena("c", 128))
    steps = (
        Step("relu_f32", (0,), (1,), node="n0", op="Relu", checks=MAED),
        Step("exit", (), (), {"index": (0,)}),
        Step("add_f32", (1, 0), (2,), node="n1", op="Add", segment=1),
        Step("exit", (), (), {"index": (1,)}),
        Step("add_f32", (2, 2), (3,), node="n2", op="Add", segment=2),
    )
    exits = (ExitPoint("e0", 1, False, 1, 1), ExitPoint("e1", 2, False, 2, 3), ExitPoint("e2", 3, False, 3, 5))
    outputs = (Port("a", 1), Port("b", 2), Port("c", 3))
    return Plan(slots, steps, (), (Port("x", 0),), outputs, 192, exits, policy)


X = np.array([[0.1, 0.4, 0.2, 0.1]], np.float32)


def test_runs_to_the_end_and_returns_every_output() -> None:
    run = PythonExecutor(exits_plan(Policy())).run([X])
    assert [o.tolist() for o in run.outputs] == [X.tolist(), (X + X).tolist(), (4 * X).tolist()]
    assert (run.exit_index, run.n_exits, run.steps_run) == (2, 3, 5)
    assert run.scores == pytest.approx((0.4, 0.8, 1.6))
    assert run.classes == (1, 1, 1)
    assert run.values_checked == 4
    assert run.findings == ()
    assert run.elapsed_ns > 0


@pytest.mark.parametrize(("policy", "exit_index"), [
    (Policy("confidence", thresholds=(0.3, 0.3)), 0),
    (Policy("confidence", thresholds=(0.5, 0.7)), 1),
    (Policy("confidence", thresholds=(2.0, 2.0)), 2),
    (Policy("patience", patience=1), 1),
    (Policy("patience", patience=2), 2),
    (Policy("deadline", budget_ns=0, segment_ns=(1.0, 1.0, 1.0)), 0),
    (Policy("deadline", budget_ns=10**12, segment_ns=(1.0, 1.0, 1.0)), 2),
    (Policy("dart", thresholds=(0.3, 0.3)), 0),
    (Policy("dart", thresholds=(0.3, 0.3), coeff=((1.0, 2.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0))), 1),
])
def test_policy_decides_where_the_run_stops(policy: Policy, exit_index: int) -> None:
    run = PythonExecutor(exits_plan(policy)).run([X])
    assert run.exit_index == exit_index
    assert len(run.scores) == exit_index + 1
    assert [o is not None for o in run.outputs] == [k <= exit_index for k in range(3)]


def test_set_coefficients_replaces_those_of_the_policy() -> None:
    executor = PythonExecutor(exits_plan(Policy("dart", thresholds=(0.3, 0.3))))
    assert executor.run([X]).exit_index == 0
    executor.set_coefficients([[2.0] * 4, [1.0] * 4])
    assert executor.run([X]).exit_index == 1


def test_profile_runs_to_the_end_and_times_every_step() -> None:
    times = PythonExecutor(exits_plan(Policy("confidence", thresholds=(0.0, 0.0)))).profile([X], repeats=2)
    assert len(times) == 5
    assert all(t > 0 for t in times)


def test_dart_raises_the_threshold_with_difficulty() -> None:
    flat = np.full((1, 1, 4, 4), 0.5, np.float32)
    rough = np.indices((4, 4)).sum(0).astype(np.float32)[None, None] % 2

    def plan(policy: Policy) -> Plan:
        slots = (Slot("x", "f32", (1, 1, 4, 4), "input", 0), Slot("flat", "f32", (1, 16), "input", 0),
                 arena("d", 0, (4,)), arena("y", 64, (1, 16)), arena("z", 128, (1, 16)))
        attrs = {"layout": (0,), "scale": (1.0,), "offset": (0.0,), "gray": (1.0,), "tau_edge": (0.5,),
                 "low": (0.0, 0.0, 0.0), "high": (1.0, 1.0, 1.0), "weights": (0.4, 0.3, 0.3)}
        steps = (Step("difficulty_f32", (0,), (2,), attrs), Step("softmax_f32", (1,), (3,), {"axis": (1,)}),
                 Step("exit", (), (), {"index": (0,)}), Step("softmax_f32", (3,), (4,), {"axis": (1,)}))
        exits = (ExitPoint("e0", 3, False, 1, 2), ExitPoint("e1", 4, False, 2, 4))
        low, high, weights = (0.0,) * 3, (1.0,) * 3, (0.4, 0.3, 0.3)
        return Plan(slots, steps, (), (Port("x", 0),), (Port("y", 3), Port("z", 4)), 192, exits, policy,
                    Difficulty(2, weights, low, high, 0.5))

    policy = Policy("dart", thresholds=(0.05,), beta=0.3)
    easy, hard = PythonExecutor(plan(policy)).run([flat]), PythonExecutor(plan(policy)).run([rough])
    assert easy.difficulty is not None
    assert hard.difficulty is not None
    assert easy.difficulty[0] == 0.0
    assert hard.difficulty[0] > 0.3
    assert (easy.exit_index, hard.exit_index) == (0, 1)


@pytest.mark.parametrize("condition", [True, False])
def test_only_the_taken_branch_is_computed(condition: bool) -> None:
    slots = (Slot("c", "b8", (), "input", 0), Slot("x", "f32", (1, 4), "input", 1), arena("y", 0))
    steps = (
        Step("branch", (0,), (), {"target": (3,)}),
        Step("neg_f32", (1,), (2,)),
        Step("jump", (), (), {"target": (4,)}),
        Step("abs_f32", (1,), (2,)),
    )
    plan = Plan(slots, steps, (), (Port("c", 0), Port("x", 1)), (Port("y", 2),), 64)
    run = PythonExecutor(plan).run([np.array(condition), -X])
    np.testing.assert_array_equal(run.outputs[0], X)
    assert run.steps_run == (3 if condition else 2)


def test_views_share_bytes_and_outputs_are_copies() -> None:
    slots = (Slot("x", "f32", (1, 4), "input", 0), Slot("x2", "f32", (2, 2), "input", 0), arena("y", 0, (2, 2)),
             arena("y4", 0, (4,)), Slot("k", "f32", (4,), "const", 0))
    steps = (Step("neg_f32", (1,), (2,)), Step("add_f32", (3, 4), (3,)))
    plan = Plan(slots, steps, (np.ones((2, 2), np.float32),), (Port("x", 0),), (Port("y", 2), Port("y4", 3)), 64)
    executor = PythonExecutor(plan)
    first = executor.run([X]).outputs[0]
    executor.run([X * 0])
    np.testing.assert_array_equal(first, (1 - X).reshape(2, 2))


def test_armed_fault_is_found_once_with_its_step() -> None:
    executor = PythonExecutor(exits_plan(Policy()))
    executor.arm_fault(0, 2, 1 << 30)
    run = executor.run([X])
    (finding,) = run.findings
    assert (finding.step, finding.node, finding.op, finding.kernel) == (0, "n0", "Relu", "relu_f32")
    assert (finding.check, finding.index, finding.expected) == ("maed", 2, pytest.approx(0.2))
    assert run.outputs[0][0, 2] == pytest.approx(finding.got)
    assert executor.run([X]).findings == ()


def test_non_finite_input_is_found() -> None:
    run = PythonExecutor(exits_plan(Policy())).run([np.array([[1, np.nan, 2, 3]], np.float32)])
    assert [(f.check, f.index) for f in run.findings] == [("finite", 1)]


def node_model(op: str, n_in: int, shape: tuple[int, ...] = (1, 4), **attrs: object) -> onnx.ModelProto:
    names = [f"i{k}" for k in range(n_in)]
    node = helper.make_node(op, names, ["o"], **attrs)
    ins = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
    outs = [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
    return helper.make_model(helper.make_graph([node], "g", ins, outs))


def fallback_plan(model: onnx.ModelProto, out_shape: tuple[int, ...] = (1, 4)) -> Plan:
    blob = np.frombuffer(model.SerializeToString(), np.uint8)
    slots = (Slot("x", "f32", (1, 4), "input", 0), Slot("m", "u8", blob.shape, "const", 0), arena("y", 0, out_shape))
    steps = (Step("onnx_reference", (1, 0), (2,), node="the node", op="Op"),)
    return Plan(slots, steps, (blob,), (Port("x", 0),), (Port("y", 2),), 64)


def test_fallback_runs_the_node_by_onnx_reference() -> None:
    run = PythonExecutor(fallback_plan(node_model("Softsign", 1))).run([X])
    np.testing.assert_allclose(run.outputs[0], X / (1 + X), rtol=1e-6)


def test_fallback_names_the_node_that_fails() -> None:
    executor = PythonExecutor(fallback_plan(node_model("Softsign", 1), (4, 1)))
    with pytest.raises(ShapeError, match=r"the node.*expects shape"):
        executor.run([X])
    model = helper.make_model(helper.make_graph(
        [helper.make_node("NoSuchOp", ["i"], ["o"])], "g",
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]))
    with pytest.raises(UnsupportedOpError, match="the node"):
        PythonExecutor(fallback_plan(model)).run([X])


@pytest.mark.parametrize("index", [4, -5])
def test_gather_index_out_of_range_is_an_input_error(index: int) -> None:
    slots = (Slot("x", "f32", (1, 4), "input", 0), Slot("i", "i64", (1,), "input", 1), arena("y", 0, (1, 1)))
    plan = Plan(slots, (Step("gather_x32", (0, 1), (2,), {"axis": (1,)}, node="pick", op="Gather"),), (),
                (Port("x", 0), Port("i", 1)), (Port("y", 2),), 64)
    executor = PythonExecutor(plan)
    assert executor.run([X, np.array([-4], np.int64)]).outputs[0] == X[0, 0]
    with pytest.raises(InputError, match=f"pick.*{index}"):
        executor.run([X, np.array([index], np.int64)])


@pytest.mark.parametrize(("feeds", "message"), [
    ([], "expected 1 inputs .x., found 0"),
    ([X.astype(np.float64)], "dtype float32, found float64"),
    ([X[:, :3]], r"shape \[1, 4\], found \[1, 3\]"),
])
def test_wrong_feeds_are_input_errors(feeds: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PythonExecutor(exits_plan(Policy())).run(feeds)


@pytest.mark.parametrize(("step", "message"), [
    (Step("no_such_f32", (0,), (1,)), "no such Python kernel"),
    (Step("jump", (), (), {"target": (0,)}), "expected a target"),
    (Step("branch", (0,), (), {"target": (9,)}), "expected a target"),
])
def test_defective_plans_are_plan_errors(step: Step, message: str) -> None:
    plan = exits_plan(Policy())
    with pytest.raises(PlanError, match=message):
        PythonExecutor(replace(plan, steps=(step, *plan.steps)))


@pytest.mark.parametrize(("step", "index"), [(99, 0), (-1, 0), (1, 0), (0, 4), (0, -1)])
def test_fault_where_nothing_is_computed_is_a_plan_error(step: int, index: int) -> None:
    with pytest.raises(PlanError, match="no kernel step"):
        PythonExecutor(exits_plan(Policy())).arm_fault(step, index, 1)


def test_a_model_whose_shapes_depend_on_data_runs_whole() -> None:
    model = helper.make_model(helper.make_graph(
        [helper.make_node("NonZero", ["i"], ["o"])], "g",
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("o", TensorProto.INT64, (2, "n"))]))
    blob = np.frombuffer(model.SerializeToString(), np.uint8)
    slots = (Slot("m", "u8", blob.shape, "const", 0), Slot("i", "f32", (1, 4), "input", 0), arena("o", 0, (), "i64"))
    steps = (Step("onnx_graph", (0, 1), (2,), op="model"),)
    plan = Plan(slots, steps, (blob,), (Port("i", 1),), (Port("o", 2),), 64)
    executor = DynamicExecutor(plan, PythonExecutor)
    assert executor.run([np.array([[0, 1, 0, 1]], np.float32)]).outputs[0].tolist() == [[0, 0], [1, 3]]
    assert executor.run([np.zeros((1, 4), np.float32)]).outputs[0].shape == (2, 0)
    assert executor.profile([X])[0] > 0
