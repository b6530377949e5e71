"""Small models made on the spot: two exits with labels and preprocessing, a sum of symbolic size."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def make_model(nodes, inputs, outputs, constants=None, metadata=None, opset=17) -> onnx.ModelProto:
    """A checked model from (name, dtype, shape) descriptions."""
    infos = [[helper.make_tensor_value_info(n, t, s) for n, t, s in group] for group in (inputs, outputs)]
    initializers = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", infos[0], infos[1], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def exit_model() -> onnx.ModelProto:
    """image [batch,1,4,4] → conv+relu → exit1 [batch,3] and conv+relu → final [batch,3]."""
    rng = np.random.default_rng(7)
    constants = {
        "w1": rng.standard_normal((4, 1, 3, 3)).astype(np.float32), "b1": np.zeros(4, np.float32),
        "w2": rng.standard_normal((4, 4, 3, 3)).astype(np.float32), "b2": np.zeros(4, np.float32),
        "h1": rng.standard_normal((4, 3)).astype(np.float32), "h2": rng.standard_normal((4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("GlobalAveragePool", ["r1"], ["g1"], "pool1"),
        helper.make_node("Flatten", ["g1"], ["f1"], "flat1"),
        helper.make_node("Gemm", ["f1", "h1"], ["exit1"], "head1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g2"], "pool2"),
        helper.make_node("Flatten", ["g2"], ["f2"], "flat2"),
        helper.make_node("Gemm", ["f2", "h2"], ["final"], "head2"),
    ]
    recipe = {"layout": "NCHW", "color": "L", "size": [4, 4], "resize": "bilinear", "scale": 1 / 255, "mean": [0.5],
              "std": [0.25]}
    metadata = {"edgerun.exits": ["exit1", "final"], "edgerun.labels": ["ant", "bee", "cat"],
                "edgerun.preprocess": recipe}
    return make_model(nodes, [("image", TensorProto.FLOAT, ["batch", 1, 4, 4])],
                      [("exit1", TensorProto.FLOAT, ["batch", 3]), ("final", TensorProto.FLOAT, ["batch", 3])],
                      constants, {k: json.dumps(v) for k, v in metadata.items()})


def add_model() -> onnx.ModelProto:
    """a, b [n,3] → sum = a + b, with n symbolic in both."""
    return make_model([helper.make_node("Add", ["a", "b"], ["sum"], "add")],
                      [("a", TensorProto.FLOAT, ["n", 3]), ("b", TensorProto.FLOAT, ["n", 3])],
                      [("sum", TensorProto.FLOAT, ["n", 3])])


@pytest.fixture(scope="session")
def model_of():
    """The function that makes a model from descriptions."""
    return make_model


@pytest.fixture(scope="session")
def exit_bytes() -> bytes:
    return exit_model().SerializeToString()


@pytest.fixture(scope="session")
def add_bytes() -> bytes:
    return add_model().SerializeToString()


@pytest.fixture
def image() -> np.ndarray:
    """A tensor for `exit_model`."""
    return np.random.default_rng(1).standard_normal((1, 1, 4, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def run_plan():
    """(model, feeds, plan options) → (outputs of the Python executor, plan)."""
    from edgerun.executors.dynamic import DynamicExecutor
    from edgerun.executors.python import PythonExecutor
    from edgerun.importer import load
    from edgerun.planner import make_plan
    from edgerun.planner.whole import is_whole_model

    def run(model, feeds, **options):
        plan = make_plan(load(model, shapes={n: x.shape for n, x in feeds.items()}), **options)
        executor = DynamicExecutor(plan, PythonExecutor) if is_whole_model(plan) else PythonExecutor(plan)
        return executor.run([feeds[port.name] for port in plan.inputs]).outputs, plan

    return run
