"""Indices that are fed and lie outside of the tensor are an InputError on every executor, and the executor works on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgerun.errors import InputError
from edgerun.executors.engine import EngineExecutor, available
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan

EXECUTORS = [PythonExecutor, pytest.param(EngineExecutor, marks=pytest.mark.skipif(not available(), reason="the engine is not built"))]
INDICES = {
    "Gather": ([1], (1,), (1, 4)), "GatherElements": ([[0, 2]], (1, 2), (1, 2)), "GatherND": ([[0, 3]], (1, 2), (1,)),
    "ScatterElements": ([[0, 2]], (1, 2), (3, 4)), "ScatterND": ([[1, 1], [2, 2]], (2, 2), (3, 4)),
}


def plan(op):
    """x [3, 4] and the indices are fed; updates are too where there are any."""
    _, shape, out = INDICES[op]
    inputs = [("x", TensorProto.FLOAT, (3, 4)), ("indices", TensorProto.INT64, shape)]
    if op.startswith("Scatter"):
        inputs.append(("updates", TensorProto.FLOAT, shape[:1] if op == "ScatterND" else shape))
    node = helper.make_node(op, [name for name, *_ in inputs], ["y"], name="taker")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return make_plan(load(model), strict=True)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("op", INDICES)
def test_an_index_out_of_range_is_an_error_and_the_next_run_works(executor, op):
    made = plan(op)
    runner = executor(made)
    feeds = [np.zeros(made.slots[p.slot].shape, np.float32) for p in made.inputs]
    feeds[0] = np.arange(12, dtype=np.float32).reshape(3, 4)
    good = np.array(INDICES[op][0], np.int64)
    bad = good.copy()
    bad.reshape(-1)[-1] = 7
    feeds[1] = bad
    with pytest.raises(InputError, match=f"operator {op}, node 'taker': expected indices in .*, found 7"):
        runner.run(feeds)
    feeds[1] = good
    answer = runner.run(feeds).outputs[0]
    assert answer.shape == INDICES[op][2]
    feeds[1] = np.where(good == good.reshape(-1)[-1], good - (3 if op in ("Gather", "ScatterElements", "GatherElements") else 4), good)
    if op not in ("ScatterND",):
        np.testing.assert_array_equal(runner.run(feeds).outputs[0], answer)
    runner.close()
