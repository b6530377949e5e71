"""LSTM, GRU and RNN models on both executors against ONNX Runtime, and a speech model that holds its state outside."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun.executors.engine import EngineExecutor, available
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is the judge here")
EXECUTORS = [PythonExecutor, pytest.param(EngineExecutor, marks=pytest.mark.skipif(not available(), reason="the engine is not built"))]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OPTIONS = {"LSTM": "input_forget", "GRU": "linear_before_reset", "RNN": ""}
STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 7


def model(op, direction, option, clip, lengths, peepholes):
    rng = np.random.default_rng(0)

    def values(*shape):
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    ways, gates = 2 if direction == "bidirectional" else 1, GATES[op]
    held = {"W": values(ways, gates * HIDDEN, FEATURES), "R": values(ways, gates * HIDDEN, HIDDEN), "B": values(ways, 2 * gates * HIDDEN)}
    feeds = {"X": values(STEPS, BATCH, FEATURES), "h0": values(ways, BATCH, HIDDEN)}
    names = ["X", "W", "R", "B", "lengths" if lengths else "", "h0"]
    if lengths:
        held["lengths"] = np.array([5, 2, 1], np.int32)
    if op == "LSTM":
        feeds["c0"] = values(ways, BATCH, HIDDEN)
        names.append("c0")
        if peepholes:
            held["P"] = values(ways, 3 * HIDDEN)
            names.append("P")
    attrs = {"hidden_size": HIDDEN, "direction": direction}
    if option:
        attrs[OPTIONS[op]] = 1
    if clip:
        attrs["clip"] = clip
    outputs = {"Y": (STEPS, ways, BATCH, HIDDEN), "Y_h": (ways, BATCH, HIDDEN), "Y_c": (ways, BATCH, HIDDEN)}
    if op != "LSTM":
        del outputs["Y_c"]
    graph = helper.make_graph(
        [helper.make_node(op, names, list(outputs), **attrs)], "g",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, a.shape) for k, a in feeds.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in outputs.items()],
        [numpy_helper.from_array(a, k) for k, a in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), feeds


def cases():
    for op, direction, option, clip, lengths, peepholes in product(
        GATES, ("forward", "reverse", "bidirectional"), (0, 1), (None, 0.3), (0, 1), (0, 1)
    ):
        if not (option and not OPTIONS[op]) and not (peepholes and op != "LSTM"):
            yield op, direction, option, clip, lengths, peepholes


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("case", cases(), ids=lambda c: "-".join(map(str, c)))
def test_recurrent_layers(executor, case):
    made, feeds = model(*case)
    want = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    plan = make_plan(load(made), strict=True)
    got = executor(plan).run([feeds[p.name] for p in plan.inputs]).outputs
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_speech_model_follows_its_state(executor):
    path = Path(os.environ.get("EDGERUN_DATA", "")) / "models" / "dtln_1.onnx"
    if not path.is_file():
        pytest.skip("models/dtln_1.onnx is not in EDGERUN_DATA")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    plan = make_plan(load(path), strict=True)
    runner, rng = executor(plan), np.random.default_rng(0)
    state = np.zeros((1, 2, 128, 2), np.float32)
    for _ in range(5):
        feeds = {"input_2": np.abs(rng.standard_normal((1, 1, 257))).astype(np.float32), "input_3": state}
        want = session.run(None, feeds)
        got = runner.run([feeds[p.name] for p in plan.inputs]).outputs
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        state = got[1]
