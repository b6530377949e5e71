"""Without `in_place`, every step of every native ONNX node test can be computed again: none writes over its own operands."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from edgerun.errors import EdgeRunError
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import ABSENT, Plan, Step
from edgerun_tools import conformance

NATIVE = (Path(__file__).parents[1] / "conformance" / "native.txt").read_text(encoding="utf-8").split()


def overwritten(plan: Plan, step: Step) -> bool:
    """Whether an output shares bytes with an operand."""
    def of(slots: tuple[int, ...]) -> list[tuple[int, int]]:
        arena = [plan.slots[k] for k in slots if k != ABSENT and plan.slots[k].place == "arena"]
        return [(s.offset, s.offset + s.nbytes) for s in arena if s.nbytes]

    return any(a < d and c < b for a, b in of(step.inputs) for c, d in of(step.outputs))


@pytest.fixture(scope="module")
def cases() -> dict[str, conformance.Case]:
    return conformance.cases()


@pytest.mark.parametrize("constants", [False, True], ids=["as they stand", "but the first input constant"])
def test_no_step_writes_over_its_operands(cases, constants: bool) -> None:
    found, plans = [], 0
    for name in NATIVE:
        case = cases.get(name)
        if case is None or not all(isinstance(v, np.ndarray) for v in case.inputs):
            continue
        model = type(case.model)()
        model.CopyFrom(case.model)
        ports = list(zip(model.graph.input, case.inputs, strict=False))
        for port, value in ports[1:] if constants else []:
            model.graph.initializer.append(numpy_helper.from_array(value, port.name))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plan = make_plan(load(model, shapes={p.name: v.shape for p, v in ports[:1 if constants else None]}), in_place=False)
        except EdgeRunError:
            continue
        plans += 1
        found += [f"{name}: {s.kernel}" for s in plan.steps if overwritten(plan, s)]
    assert plans > 1000
    assert found == []
