"""`python -m edgerun_tools.models`: its measures against things known, and two small models of the data folder through it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun_tools import models, models_check
from edgerun_tools.defined import defined, is_quantised
from edgerun_tools.models_check import Row, check, onnx_runtime, output_steps
from edgerun_tools.models_inputs import RECIPES

ort = pytest.importorskip("onnxruntime", reason="the other side")

ROOT = Path(__file__).parents[2]
DATA = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data")).resolve()
needs_data = pytest.mark.skipif(not (DATA / "models").is_dir(), reason="no data folder; set EDGERUN_DATA")


def held(**values):
    return {k: np.asarray(v) for k, v in values.items()}


@pytest.fixture
def qdq(model_of):
    """x → quantised (0.5, 3) → Relu → quantised (0.25, 0) → y float; the scales' order tells which one counts."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s1", "z1"], ["q1"]),
             helper.make_node("DequantizeLinear", ["q1", "s1", "z1"], ["d1"]),
             helper.make_node("Relu", ["d1"], ["r"]), helper.make_node("QuantizeLinear", ["r", "s2", "z2"], ["q2"]),
             helper.make_node("DequantizeLinear", ["q2", "s2", "z2"], ["d2"]), helper.make_node("Reshape", ["d2", "shape"], ["y"])]
    constants = held(s1=np.float32(0.5), z1=np.int8(3), s2=np.float32(0.25), z2=np.int8(0), shape=np.array([4]))
    return model_of(nodes, [("x", TensorProto.FLOAT, [2, 2])], [("y", TensorProto.FLOAT, [4])], constants)


# -- measures ---------------------------------------------------------------------------------------------------------


def test_a_step_is_the_scale_of_the_last_quantised_tensor(qdq):
    assert output_steps(qdq) == [0.25]


def test_a_step_of_integers_is_one_and_of_float_models_none(model_of, exit_bytes):
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    model = model_of([node], [("x", TensorProto.FLOAT, [2])], [("y", TensorProto.INT8, [2])], held(s=np.float32(0.5), z=np.int8(0)))
    assert output_steps(model) == [1.0]
    assert output_steps(onnx.load_model_from_string(exit_bytes)) == [0.0, 0.0]


def test_which_models_count_as_quantised(qdq, exit_bytes):
    assert is_quantised(qdq)
    assert not is_quantised(onnx.load_model_from_string(exit_bytes))


def q_model(op, inputs, attributes, shape, dtype=TensorProto.UINT8):
    """A model of one quantised operator of com.microsoft (or ONNX); inputs: constants, "x" being the run-time input."""
    rng = np.random.default_rng(4)
    names = [f"i{k}" if isinstance(v, np.ndarray) else v for k, v in enumerate(inputs)]
    domain = "" if op in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
    node = helper.make_node(op, names, ["y"], "node", domain=domain, **attributes)
    initializers = [numpy_helper.from_array(v, n) for n, v in zip(names, inputs, strict=True) if isinstance(v, np.ndarray)]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", dtype, shape)],
                              [helper.make_tensor_value_info("y", dtype, None)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    return model, {"x": rng.integers(0, 200, shape).astype(np.uint8)}


U, F = np.uint8, np.float32
_RNG = np.random.default_rng(9)
SMALL = _RNG.integers(-40, 40, (5, 3, 3, 3), np.int8)
"""Weights so small that no kernel saturates."""
TABLE = _RNG.integers(-40, 40, (6, 7), np.int8)
X = ["x", F(0.02), U(100)]
Y = [F(0.05), U(90)]
CASES = {
    "QLinearConv": ([*X, SMALL, _RNG.uniform(0.01, 0.02, 5).astype(F), np.zeros(5, np.int8), *Y, _RNG.integers(-500, 500, 5, np.int32)],
                    {"pads": [1, 1, 1, 1]}, (1, 3, 6, 6)),
    "QLinearMatMul": ([*X, TABLE, F(0.01), np.int8(2), *Y], {}, (4, 6)),
    "QGemm": ([*X, TABLE.T.copy(), F(0.01), np.int8(0), _RNG.integers(-500, 500, 7, np.int32), *Y], {"transB": 1}, (4, 6)),
    "QLinearAdd": ([*X, _RNG.integers(0, 255, (4, 6), U), F(0.03), U(120), *Y], {}, (4, 6)),
    "QLinearMul": ([*X, _RNG.integers(0, 255, (4, 6), U), F(0.03), U(120), *Y], {}, (4, 6)),
    "QLinearAveragePool": ([*X, *Y], {"kernel_shape": [2, 2]}, (1, 3, 6, 6)),
    "QLinearGlobalAveragePool": ([*X, *Y], {}, (1, 16, 3, 3)),
    "QLinearSigmoid": ([*X, F(1 / 256), U(0)], {}, (4, 6)),
    "QLinearLeakyRelu": ([*X, *Y], {"alpha": 0.2}, (4, 6)),
    "QLinearConcat": ([*Y, *X, _RNG.integers(0, 255, (4, 6), U), F(0.03), U(120)], {"axis": 1}, (4, 6)),
    "QLinearSoftmax": ([*X, F(1 / 256), U(0)], {"axis": 1, "opset": 13}, (4, 6)),
}


@pytest.mark.parametrize("op", CASES)
def test_a_written_out_operator_is_what_onnx_runtime_computes(op):
    """Where no sum saturates, ONNX Runtime's own kernel and the written-out form are one step apart at most."""
    inputs, attributes, shape = CASES[op]
    model, feeds = q_model(op, [np.asarray(v) if not isinstance(v, str) else v for v in inputs], attributes, shape)
    meaning = defined(model)
    assert {n.domain for n in meaning.graph.node} == {""}
    assert "QuantizeLinear" in {n.op_type for n in meaning.graph.node}
    (theirs,), (ours,) = (onnx_runtime(m.SerializeToString(), 1, in_float=m is meaning)(feeds) for m in (model, meaning))
    assert len(np.unique(ours)) > 3
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def wrong(path, factor) -> Path:
    """A model whose answers are those of another: the last weight scaled."""
    model = onnx.load(path)
    for name in ("h1", "h2"):
        weight = next(i for i in model.graph.initializer if i.name == name)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), name))
    target = path.with_name("wrong.onnx")
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(("factor", "ok"), [(1.0, True), (1.00001, True), (1.001, False)])
def test_a_difference_above_the_bound_is_a_reason(tmp_path, exit_bytes, monkeypatch, factor, ok):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    other = wrong(path, factor)
    real = onnx_runtime
    monkeypatch.setattr(models_check, "onnx_runtime", lambda model, threads, **k: real(other, threads, **k))
    row = check(path, tmp_path, (1,))
    assert row.runs
    assert (not row.reasons) == ok
    assert row.worst == pytest.approx(factor - 1, abs=2e-6)


def test_a_model_that_cannot_be_loaded_is_a_row(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    row = check(path, tmp_path, (1,))
    assert not row.runs
    assert row.reasons


# -- the command ------------------------------------------------------------------------------------------------------


def test_no_models_is_wrong_usage(tmp_path):
    with pytest.raises(SystemExit) as e:
        models.main(["--data", str(tmp_path)])
    assert e.value.code == 2


def test_a_failing_row_says_why_and_fails(tmp_path, exit_bytes, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "good.onnx").write_bytes(exit_bytes)
    (tmp_path / "models" / "bad.onnx").write_bytes(exit_bytes[:100])
    code = models.main(["--data", str(tmp_path), "--threads", "1", "--json", "--write", str(tmp_path / "models.md")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 1
    assert [(r["model"], r["ok"]) for r in rows] == [("bad", False), ("good", True)]
    page = (tmp_path / "models.md").read_text()
    assert "1 of 2 rows" in page
    assert rows[0]["reasons"][0].split(":")[0] in page


def test_text_of_a_row():
    row = Row("m", "int8", (1,), "mnist", 20, True, 1.0, 0.9995, 0.5, 0.9, 1.0, {"set": "mnist", "images": 200, "ours": 198, "ort": 190},
              (99, 100), 12, 3, {"TopK": 1})
    text = models.cells(row)
    assert len(text) == len(models.COLUMNS)
    assert text == ["m", "20 of mnist", "1.0 steps", "99.95", "1.0", "90.00", "50.00", "99.00", "95.00", "", "99/100", "12", "3", "1 TopK"]


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ort_mnist8", "mlperf_dscnn_kws_fp32"])
def test_small_models_of_the_data_folder(name):
    row = check(DATA / "models" / f"{name}.onnx", DATA, (1, 2), images=100)
    assert row.reasons == []
    assert row.kind == "fp32"
    assert row.worst < 1e-5
    assert row.fallbacks == {}
    assert row.accuracy["ours"] == row.accuracy["ort"] > 80


@needs_data
@pytest.mark.slow
def test_a_small_int8_model_of_the_data_folder():
    row = check(DATA / "models" / "mlperf_dscnn_kws_int8qdq.onnx", DATA, (1, 2), images=100, bits=20)
    assert row.reasons == []
    assert row.bits == (20, 20)
    assert row.share > 0.995
    assert row.fallbacks == {}
    assert row.int8_layers > row.other_layers
    assert row.layer_steps <= 1
    assert row.accuracy["ours"] > 80


@needs_data
@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.set], ids=lambda r: r.pattern)
def test_sets_that_recipes_name_are_there(recipe):
    assert (DATA / "sets" / recipe.set).exists()
    assert list((DATA / "models").glob(f"{recipe.pattern}.onnx"))
