"""`edgerun compare`: the first layer that differs, on small models, with faults put into kernels, and on real models."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun_kernels.registry import KERNELS
from edgerun_tools import cli, common, compare_layers
from edgerun_tools.compare_inputs import probe
from edgerun_tools.compare_numbers import Bounds, Difference, grains_of
from edgerun_tools.compare_plans import exposing, same_steps, tensor_types

ROOT = Path(__file__).parents[2]
FOLDER = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "models").resolve()
ZOO = ROOT / "models" / "zoo"
BOUNDARIES = {"r1", "g1", "exit1", "r2", "g2", "final"}
"""Tensors of the model `exit_bytes` that lie between its steps; c1 and c2 are inside of a fused convolution, f1 and f2
are views."""


@pytest.fixture
def model(tmp_path, exit_bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    return str(path)


@pytest.fixture
def compare(capsys):
    """Runs the command with --json; returns (exit code, report or None, stderr)."""

    def call(*words):
        code = cli.main(["compare", *map(str, words), "--threads", "1", "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


def has_engine(model: str) -> bool:
    with Session(model) as session:
        return session.executor_name == "engine"


def perturbed(path: Path, weight: str, target: Path) -> str:
    """A copy of a model with the first number of one weight changed by the largest magnitude in the weight."""
    model = onnx.load(path)
    held = next(i for i in model.graph.initializer if i.name == weight)
    values = numpy_helper.to_array(held).copy()
    values.reshape(-1)[0] += np.abs(values).max()
    held.CopyFrom(numpy_helper.from_array(values, weight))
    onnx.save(model, target)
    return str(target)


# -- nothing differs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [[], ["--isolate"]], ids=["whole", "isolated"])
@pytest.mark.parametrize("other", ["ort", "reference"])
def test_every_tensor_between_steps_agrees_in_onnx_layout(compare, model, other, form):
    """Channels, height and width are equal here, so a tensor in our layout would have the right shape and wrong numbers."""
    if other == "ort":
        pytest.importorskip("onnxruntime", reason="the peer")
    code, report, _ = compare(model, "--with", other, *form)
    assert code == 0
    assert report["first"] is None
    assert {r["tensor"] for r in report["layers"]} == BOUNDARIES
    assert {r["tensor"]: r["node"] for r in report["layers"]}["r2"] == "conv2"
    assert {tuple(r["shape"]) for r in report["layers"] if r["tensor"] in ("r1", "r2")} == {(1, 4, 4, 4)}
    assert max(r["max_rel"] for r in report["layers"]) < 1e-5
    assert report["reproduced"]
    assert report["unseen_steps"] == []


def test_engine_and_python_executor(compare, model):
    if not has_engine(model):
        pytest.skip("the engine is not built")
    code, report, _ = compare(model, "--with", "python", "--runs", "3")
    assert code == 0
    assert len(set(report["inputs"])) == 3
    assert {r["tensor"] for r in report["layers"]} == BOUNDARIES


def test_a_model_agrees_with_itself_to_the_last_bit(compare, model):
    code, report, _ = compare(model, "--with", model, "--tolerance", "0")
    assert code == 0
    assert {r["differing"] for r in report["layers"]} == {0.0}


def test_little_memory_takes_more_runs_and_finds_the_same(compare, model, monkeypatch):
    whole = compare(model, "--with", "reference")[1]
    monkeypatch.setattr(compare_layers, "GROUP_BYTES", 1)
    assert compare(model, "--with", "reference")[1] == whole


def test_calibrated_model_with_exits(compare):
    path = ZOO / "mnist_alexnet" / "model.onnx"
    if not path.exists():
        pytest.skip(f"no {path.name} in the zoo")
    pytest.importorskip("onnxruntime", reason="the peer")
    code, report, _ = compare(path, "--with", "ort")
    assert code == 0
    assert report["left_out"] == []
    assert report["unseen_steps"] == []
    assert len(report["outputs"]) == 3
    assert "pixels" in report["inputs"][0]


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
@pytest.mark.parametrize("form", [[], ["--isolate"]], ids=["whole", "isolated"])
def test_model_whose_shapes_depend_on_data(compare, tmp_path, model_of, form):
    nodes = [helper.make_node("Relu", ["x"], ["r"], "relu"), helper.make_node("NonZero", ["r"], ["n"], "where"),
             helper.make_node("Neg", ["n"], ["y"], "neg")]
    path = tmp_path / "dynamic.onnx"
    onnx.save(model_of(nodes, [("x", TensorProto.FLOAT, [2, 3])], [("y", TensorProto.INT64, [2, None])]), path)
    code, report, _ = compare(path, "--with", "reference", *form)
    assert code == 0
    assert [(r["node"], r["op"], r["tensor"]) for r in report["layers"]] == [
        ("relu", "Relu", "r"), ("where", "NonZero", "n"), ("neg", "Neg", "y")]


# -- something differs ------------------------------------------------------------------------------------------------


def faulty(kernel: str, when) -> object:
    """The Python kernel with all results 1 % too large where `when(inputs, attrs)` holds."""
    right = KERNELS[kernel]

    def call(inputs, attrs, outputs, sink):
        right(inputs, attrs, outputs, sink)
        if when(inputs, attrs):
            outputs[0] *= np.float32(1.01)

    return call


def second_fused(inputs, attrs) -> bool:
    return bool(any(attrs.get("activation", ()))) and inputs[0].shape[-1] == 4


@pytest.mark.parametrize("form", [[], ["--isolate"]], ids=["whole", "isolated"])
def test_fault_in_a_fused_kernel_is_found_at_its_step(compare, model, monkeypatch, form):
    monkeypatch.setitem(KERNELS, "conv2d_f32", faulty("conv2d_f32", second_fused))
    code, report, _ = compare(model, "--executor", "python", "--with", "reference", *form)
    assert code == 1
    assert (report["first"]["node"], report["first"]["tensor"], report["first"]["op"]) == ("conv2", "r2", "Conv+Relu")
    assert report["first"]["max_rel"] == pytest.approx(0.01, rel=0.02)
    bad = [r["tensor"] for r in report["layers"] if not r["within"]]
    assert bad == (["r2"] if form else ["r2", "g2", "final"])


# -- quantised models -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[("qdq", "int8"), ("qoperator", "uint8")], ids=lambda p: p[0])
def eight(request, tmp_path, exit_bytes):
    """The model `exit_bytes`, quantised by ONNX Runtime."""
    pytest.importorskip("onnxruntime", reason="its quantiser, and the peer")
    from edgerun_tools.quantize_ort import Settings, quantise

    rng = np.random.default_rng(2)
    rows = [{"image": rng.uniform(-2, 2, (1, 1, 4, 4)).astype(np.float32)} for _ in range(16)]
    form, activations = request.param
    onnx.save(quantise(onnx.load_model_from_string(exit_bytes), rows, Settings(form, activations), lambda k, n: None), tmp_path / "q.onnx")
    return str(tmp_path / "q.onnx")


@pytest.mark.parametrize("other", ["ort", "reference"])
def test_layers_of_a_quantised_model_are_compared_in_steps(compare, eight, other):
    code, report, _ = compare(eight, "--with", other, "--runs", "20")
    assert code == 0
    assert report["isolated"]
    assert report["left_out"] == []
    bytes_ = [r for r in report["layers"] if r["dtype"] in ("int8", "uint8")]
    assert len(bytes_) >= 6
    assert all(r["steps"] == r["max_abs"] <= 1 for r in bytes_)
    assert [r["steps"] is not None for r in report["outputs"]] == [True, True]


def test_a_fault_in_an_int8_kernel_is_named_with_its_steps(compare, eight, monkeypatch):
    for kernel in ("qconv2d_i8", "qconv2d_u8"):
        monkeypatch.setitem(KERNELS, kernel, shifted(KERNELS[kernel], 5))
    code, report, _ = compare(eight, "--executor", "python", "--with", "ort")
    first = report["first"]
    assert code == 1
    assert first["kernel"].startswith("qconv2d_")
    assert first["node"].startswith("conv2")
    assert 4 <= first["steps"] <= 6
    assert [r["tensor"] for r in report["layers"] if not r["within"]] == [first["tensor"]]


@pytest.mark.parametrize("channels", [1, 4], ids=["first", "second"])
@pytest.mark.parametrize("memory", [1, 200, 1 << 20])
def test_a_layer_by_itself_goes_on_from_our_tensors_however_little_memory_there_is(compare, eight, monkeypatch, channels, memory):
    whole = compare(eight, "--executor", "python", "--with", "ort", "--runs", "3")[1]
    for kernel in ("qconv2d_i8", "qconv2d_u8"):
        monkeypatch.setitem(KERNELS, kernel, shifted(KERNELS[kernel], 5, channels))
    monkeypatch.setattr(compare_layers, "GROUP_BYTES", memory)
    code, report, _ = compare(eight, "--executor", "python", "--with", "ort", "--runs", "3")
    assert code == 1
    assert [r["tensor"] for r in report["layers"]] == [r["tensor"] for r in whole["layers"]]
    assert [r["tensor"] for r in report["layers"] if not r["within"]] == [report["first"]["tensor"]]


def shifted(right, steps, channels=4):
    """An int8 convolution of so many channels whose results are some steps too large, or too small near the upper end."""

    def call(inputs, attrs, outputs, sink):
        right(inputs, attrs, outputs, sink)
        if inputs[0].shape[-1] == channels:
            outputs[0][...] = np.where(outputs[0] > np.iinfo(outputs[0].dtype).max - steps, outputs[0] - steps, outputs[0] + steps)

    return call


def test_the_verdict_counts_steps(capsys, eight, monkeypatch):
    for kernel in ("qconv2d_i8", "qconv2d_u8"):
        monkeypatch.setitem(KERNELS, kernel, shifted(KERNELS[kernel], 5))
    cli.main(["compare", eight, "--executor", "python", "--with", "ort"])
    last = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("first layer that differs"))
    assert "5 steps; bound 1" in last or "6 steps; bound 1" in last or "4 steps; bound 1" in last


def test_sums_that_saturate_in_onnx_runtime_are_not_our_fault(compare, tmp_path, model_of):
    """255 · 127, 64 times: twice as much as its kernel for uint8 makes of it on x86-64 without VNNI."""
    pytest.importorskip("onnxruntime", reason="the peer")
    constants = {"w": np.full((2, 64, 1, 1), 127, np.int8), "u": np.uint8(0), "z": np.int8(0), "s": np.float32(1 / 255),
                 "t": np.float32(1 / 127), "r": np.float32(64 / 255)}
    node = helper.make_node("QLinearConv", ["x", "s", "u", "w", "t", "z", "r", "u"], ["y"], "conv")
    onnx.save(model_of([node], [("x", TensorProto.UINT8, [1, 64, 2, 2])], [("y", TensorProto.UINT8, [1, 2, 2, 2])], constants),
              tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.full((1, 64, 2, 2), 255, np.uint8))
    code, report, _ = compare(tmp_path / "m.onnx", "--with", "ort", "--input", tmp_path / "x.npy")
    assert code == 0
    assert report["outputs"][0]["steps"] <= 1


# -- bounds and faults ------------------------------------------------------------------------------------------------


def test_tolerance_decides(compare, model, monkeypatch):
    monkeypatch.setitem(KERNELS, "conv2d_f32", faulty("conv2d_f32", second_fused))
    code, report, _ = compare(model, "--executor", "python", "--with", "reference", "--tolerance", "0.05")
    assert code == 0
    assert report["first"] is None


def test_table_names_the_first_layer(capsys, model, monkeypatch):
    monkeypatch.setitem(KERNELS, "conv2d_f32", faulty("conv2d_f32", second_fused))
    monkeypatch.setattr(common.answers, "width", common.PIPE_WIDTH)  # whatever COLUMNS says
    code = cli.main(["compare", model, "--executor", "python", "--with", "reference"])
    out, _ = capsys.readouterr()
    assert code == 1
    lines = out.splitlines()
    assert {"step", "node", "operator", "tensor", "shape", "differing"} <= set(lines[1].split())
    last = lines[-1]
    assert last.startswith("first layer that differs: step")
    assert "'conv2'" in last and "'r2'" in last and "bound 0.0001" in last


def test_step_without_a_tensor_of_the_model_is_a_suspect(compare, tmp_path, model_of, monkeypatch):
    """Conv, MaxPool, Relu runs as Conv+Relu, MaxPool: no tensor of the model lies between the two."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
             helper.make_node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2]),
             helper.make_node("Relu", ["p"], ["y"], "relu")]
    path = tmp_path / "hoisted.onnx"
    onnx.save(model_of(nodes, [("x", TensorProto.FLOAT, [1, 1, 5, 5])], [("y", TensorProto.FLOAT, [1, 3, 2, 2])],
                       {"w": rng.standard_normal((3, 1, 3, 3)).astype(np.float32)}), path)
    monkeypatch.setitem(KERNELS, "conv2d_f32", faulty("conv2d_f32", lambda inputs, attrs: True))
    code, report, _ = compare(path, "--executor", "python", "--with", "reference")
    assert code == 1
    kernels = [s.kernel for s in make_plan(load(path)).steps]
    assert [kernels[k] for k in report["suspects"]] == ["conv2d_f32"]
    assert report["suspects"] == report["unseen_steps"]


def layer_at(model: onnx.ModelProto, part: float) -> onnx.NodeProto:
    """The layer with weights that lies at this part of the model."""
    weights = {i.name for i in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "MatMul", "Gemm") and n.input[1] in weights]
    return layers[int(part * (len(layers) - 1))]


@pytest.mark.parametrize(("name", "part"), [
    ("mlperf_resnet8_cifar10_fp32", 0.5), ("mlperf_dscnn_kws_fp32", 0.9), ("mlperf_vww96_fp32", 0.0), ("ort_mnist8", 1.0),
])
def test_perturbed_weight_of_a_real_model_is_found(compare, tmp_path, name, part):
    original = FOLDER / f"{name}.onnx"
    if not original.exists():
        pytest.skip(f"no {original.name} in the data folder (EDGERUN_DATA)")
    model = onnx.load(original)
    layer = layer_at(model, part)
    assert layer.name
    copy = perturbed(original, layer.input[1], tmp_path / "copy.onnx")
    shape = [max(d.dim_value, 1) for d in model.graph.input[0].type.tensor_type.shape.dim]
    # spread wider than the default input, which leaves most channels of the keyword spotter at zero
    np.save(tmp_path / "x.npy", (3 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32))
    code, report, _ = compare(copy, "--with", original, "--input", tmp_path / "x.npy")
    assert code == 1
    assert report["first"]["node"] == layer.name
    before = report["layers"][:report["layers"].index(report["first"])]
    assert all(r["max_abs"] == 0 for r in before)
    assert report["left_out"] == []


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_real_8_bit_model_within_one_step(compare):
    path = FOLDER / "tflm_micro_speech_int8qdq.onnx"
    if not path.exists():
        pytest.skip(f"no {path.name} in the data folder (EDGERUN_DATA)")
    pytest.importorskip("onnxruntime", reason="the peer")
    code, report, _ = compare(path, "--with", "ort", "--runs", "3")
    assert code == 0
    assert report["isolated"]
    eight = [r for r in report["layers"] if r["dtype"] == "int8"]
    assert len(eight) > 1
    assert all(r["steps"] <= 1 and r["bound"] == 1 for r in eight)


# -- wrong usage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "said"), [
    (["--with", "tensorflow"], "--with"),
    (["--with", "python", "--isolate"], "--isolate"),
    (["--with", "python", "--executor", "python"], "engine"),
])
def test_wrong_usage(compare, model, words, said):
    code, report, err = compare(model, *words)
    assert code == 2
    assert report is None
    assert said in err


def test_other_model_needs_tensors_of_the_same_names(compare, tmp_path, model, add_bytes, model_of):
    path = tmp_path / "other.onnx"
    onnx.save(model_of([helper.make_node("Neg", ["image"], ["z"], "neg")], [("image", TensorProto.FLOAT, [1, 1, 4, 4])],
                       [("z", TensorProto.FLOAT, [1, 1, 4, 4])]), path)
    code, _, err = compare(model, "--with", path)
    assert code == 2
    assert "names" in err


def test_inputs_of_one_shape(compare, tmp_path, model):
    for batch in (1, 2):
        np.save(tmp_path / f"{batch}.npy", np.zeros((batch, 1, 4, 4), np.float32))
    code, _, err = compare(model, "--with", "reference", "--input", tmp_path / "1.npy", "--input", tmp_path / "2.npy")
    assert code == 4
    assert "one shape" in err


# -- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "made_by"), [("r1", "conv1"), ("c1", None), ("g2", "pool2"), ("c2", None)])
def test_only_tensors_that_leave_the_plan_alone(exit_bytes, name, made_by):
    shapes = {"image": (1, 1, 4, 4)}
    proto = onnx.ModelProto.FromString(exit_bytes)
    types = tensor_types(load(proto, shapes=shapes))
    plan = make_plan(load(proto, shapes=shapes))
    found = same_steps(plan, make_plan(load(exposing(proto, types, [name]), shapes=shapes)))
    assert (None if found is None else plan.steps[found[name]].node) == made_by


def test_other_weights_are_not_the_same_plan(exit_bytes):
    proto = onnx.ModelProto.FromString(exit_bytes)
    plan = make_plan(load(proto))
    values = numpy_helper.to_array(proto.graph.initializer[0]) * np.float32(2)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, proto.graph.initializer[0].name))
    assert same_steps(plan, plan) is not None
    assert same_steps(plan, make_plan(load(proto))) is None


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(("a", "b", "max_abs", "max_rel", "differing"), [
    ([1.0, -4.0], [1.0, -4.0], 0, 0, 0),
    ([1.0, -4.0], [1.5, -4.0], 0.5, 0.125, 0.5),
    ([NAN, INF, 2.0], [NAN, INF, 2.0], 0, 0, 0),
    ([NAN, 2.0], [2.0, 2.0], INF, INF, 0.5),
    ([INF, 2.0], [-INF, 2.0], INF, INF, 0.5),
    ([1e-7], [2e-7], 1e-7, 1e-5, 1),
    ([], [], 0, 0, 0),
])
def test_difference(a, b, max_abs, max_rel, differing):
    d = Difference.of(np.array(a, np.float32), np.array(b, np.float32))
    assert (d.max_abs, d.max_rel) == (pytest.approx(max_abs), pytest.approx(max_rel))
    assert d.differing == differing


def test_unlike_tensors_differ_whatever_the_tolerance():
    d = Difference.of(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))
    assert not Bounds(tolerance=1e9).within("t", d)
    assert d.other == "float32[3, 2]"


@pytest.mark.parametrize(("dtype", "far", "within"), [
    (np.int8, 1, True), (np.uint8, 2, False), (np.int32, 1, False), (np.bool_, 1, False), (np.int64, 0, True),
])
def test_bounds_of_integers(dtype, far, within):
    d = Difference.of(np.array([3, far]).astype(dtype), np.array([3, 0]).astype(dtype))
    assert Bounds().within("t", d) is within


def quantised(model_of) -> onnx.ModelProto:
    """x → QuantizeLinear(scale 0.5, zero point -28) → DequantizeLinear → Relu."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]), helper.make_node("Relu", ["d"], ["y"])]
    return model_of(nodes, [("x", TensorProto.FLOAT, [1, 500])], [("y", TensorProto.FLOAT, [1, 500])],
                    {"s": np.float32(0.5), "z": np.int8(-28)})


def test_one_step_is_worth_the_scale_beside_it(model_of):
    grains = grains_of(quantised(model_of).graph)
    assert grains == {"q": 0.0, "d": 0.5, "y": 0.0}
    d = Difference.of(np.array([2.0, 1.0], np.float32), np.array([2.0, 1.5], np.float32))
    assert Bounds(grains=grains).within("d", d)
    assert not Bounds(grains=grains).within("y", d)
    assert not Bounds(grains=grains, steps=0).within("d", d)


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_random_input_spans_the_quantised_range(model_of):
    with Session(quantised(model_of).SerializeToString()) as session:
        source, feeds = probe(session, 0)
    assert "quantised" in source
    assert feeds["x"].min() == pytest.approx(-50, abs=1)
    assert feeds["x"].max() == pytest.approx(77.5, abs=1)


def test_random_input_is_pixels_prepared(exit_bytes):
    with Session(exit_bytes) as session:
        _, feeds = probe(session, 0)
        same, other = probe(session, 0)[1], probe(session, 1)[1]
    pixels = (feeds["image"] * 0.25 + 0.5) * 255
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)
    np.testing.assert_array_equal(same["image"], feeds["image"])
    assert not np.array_equal(other["image"], feeds["image"])
