"""Checks "maed-paper": activations in steps of their own, with the identities that MAED published, on both executors."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgerun.errors import PlanError
from edgerun.executors.engine import EngineExecutor, available
from edgerun.executors.python import PythonExecutor
from edgerun.guards import annotate
from edgerun.importer.load import load
from edgerun.planner import make_plan

F = TensorProto.FLOAT
MODE = "maed-paper"
EXECUTORS = [pytest.param(EngineExecutor, marks=pytest.mark.skipif(not available(), reason="the C++ engine is not built")), PythonExecutor]


@pytest.fixture
def model(model_of) -> bytes:
    """relu(x W), its SiLU as exporters spell it, tanh of that, exp, softmax: what is published, and what is not."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"), helper.make_node("Relu", ["m"], ["r"], "relu"),
        helper.make_node("Sigmoid", ["r"], ["s"], "sigmoid"), helper.make_node("Mul", ["r", "s"], ["silu"], "gate"),
        helper.make_node("Tanh", ["silu"], ["t"], "tanh"), helper.make_node("Exp", ["t"], ["e"], "exp"),
        helper.make_node("Softmax", ["e"], ["y"], "softmax", axis=-1),
    ]
    w = np.linspace(-0.5, 0.5, 64, dtype=np.float32).reshape(8, 8)
    return model_of(nodes, [("x", F, [4, 8])], [("y", F, [4, 8])], {"w": w})


X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)


def test_published_checks_are_on_steps_of_their_own(model) -> None:
    plan = make_plan(load(model), checks=MODE)
    checked = {s.node: (s.kernel, [(c.kind, c.bound) for c in s.checks], s.attrs.get("paper")) for s in plan.steps if s.checks}
    assert checked == {
        "relu": ("relu_f32", [("maed_paper", 0.0)], (1,)), "sigmoid": ("sigmoid_f32", [("maed_paper", 1e-6)], (1,)),
        "tanh": ("tanh_f32", [("maed_paper", 1e-6)], (1,)), "exp": ("exp_f32", [("maed_paper", 1e-6)], (1,)),
    }
    assert not any(any(s.attrs.get("activation", ())) for s in plan.steps)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_answer_is_that_of_the_usual_mode(model, executor) -> None:
    paper, usual = (executor(make_plan(load(model), checks=c)).run([X]) for c in (MODE, "maed"))
    np.testing.assert_allclose(paper.outputs[0], usual.outputs[0], rtol=1e-6)
    assert paper.values_checked == 4 * X.size
    assert usual.findings == ()


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("node", ["sigmoid", "tanh", "exp"])
def test_a_fault_is_found_where_it_is(model, node: str, executor) -> None:
    plan = make_plan(load(model), checks=MODE)
    step = next(k for k, s in enumerate(plan.steps) if s.node == node)
    run = executor(plan)
    run.arm_fault(step, 9, 1 << 29)
    found = [(f.step, f.node, f.check, f.index) for f in run.run([X]).findings]
    assert (step, node, "maed", 9) in found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_findings_carry_both_sides_of_the_identity(model_of, executor) -> None:
    model = model_of([helper.make_node("Sigmoid", ["x"], ["y"])], [("x", F, [3])], [("y", F, [3])])
    found = executor(make_plan(load(model), checks=MODE)).run([np.float32([0.0, 8.0, 1.0])]).findings
    assert [(f.index, f.bound) for f in found] == [(1, pytest.approx(1e-6))]
    assert found[0].expected == pytest.approx(np.exp(8.0), rel=1e-6)
    assert found[0].got == pytest.approx(np.exp(8.0), rel=1e-3)


def test_both_executors_agree(model) -> None:
    if not available():
        pytest.skip("the C++ engine is not built")
    wide = (X * 8).astype(np.float32)
    engine, python = (e(make_plan(load(model), checks=MODE)).run([wide]) for e in (EngineExecutor, PythonExecutor))
    assert {f.node for f in engine.findings} <= {"relu", "sigmoid", "tanh", "exp"}
    assert engine.values_checked == python.values_checked


def test_a_finished_plan_is_refused_where_an_activation_is_fused(model) -> None:
    with pytest.raises(PlanError, match="expected activations in steps of their own"):
        annotate(make_plan(load(model)), MODE)


def test_a_finished_plan_changes_its_mode_both_ways(model) -> None:
    plan = make_plan(load(model), checks="off", optimize=False)
    paper = annotate(plan, MODE)
    assert sum(len(s.checks) for s in paper.steps) == 4
    back = annotate(paper, "off")
    assert [(s.attrs, s.checks) for s in back.steps] == [(s.attrs, s.checks) for s in plan.steps]
