"""Real int8 models of the data folder (environment EDGERUN_DATA): what runs in int8, and answers against ONNX Runtime.

ONNX Runtime runs with its optimisations off, and QLinearConv and QGemm are written as the float operators that they stand for:
it then computes what the model says. Its int8 kernels are further from that than ours, as they saturate intermediate sums on
CPUs without VNNI (56 steps off in the first layer of mlperf_resnet8_cifar10_qoperator_u8s8_pertensor).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgerun.executors import engine
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.importer.microsoft import standard
from edgerun.planner import int8, make_plan
from edgerun.planner.plan import ABSENT, DTYPES, Plan
from edgerun_kernels.registry import KERNELS

ROOT = Path(__file__).parents[2]
FOLDER = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "models").resolve()
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no data folder; set EDGERUN_DATA")

# name → (layers, those in float)
MODELS = {
    "coral_mobilenetv1_025_128_uint8qdq": (30, 0), "coral_mobilenetv1_050_160_uint8qdq": (30, 0),
    "coral_mobilenetv2_100_224_uint8qdq": (65, 0),
    "mlperf_ad01_int8qdq": (10, 0), "mlperf_dscnn_kws_int8qdq": (12, 0), "mlperf_dscnn_kws_qdq_s8s8_perchannel": (12, 0),
    "mlperf_dscnn_kws_qoperator_u8s8_pertensor": (12, 0), "mlperf_resnet8_cifar10_int8qdq": (15, 0),
    "mlperf_resnet8_cifar10_qdq_s8s8_perchannel": (15, 0), "mlperf_resnet8_cifar10_qoperator_u8s8_pertensor": (15, 0),
    "mlperf_resnet8large_cifar10_int8qdq": (15, 0), "mlperf_strww_int8qdq": (10, 0), "mlperf_vww96_int8qdq": (30, 0),
    "mlperf_vww96_qdq_s8s8_perchannel": (30, 0), "mlperf_vww96_qoperator_u8s8_pertensor": (30, 0),
    "st_mobilenetv1_025_imagenet224_qdq_s8s8_perchannel": (30, 0), "st_mobilenetv1_025_imagenet224_qoperator_u8s8_perchannel": (30, 0),
    "tflm_micro_speech_int8qdq": (3, 0), "ultraface_slim320_qdq_s8s8_perchannel": (43, 0),
    "ultraface_slim320_qoperator_u8s8_pertensor": (43, 0),
    "yolox_nano_qdq_s8s8_perchannel": (226, 0), "yolox_nano_qoperator_u8s8_perchannel": (228, 0),
}
YOLOX = ("yolox_nano_qdq_s8s8_perchannel", "yolox_nano_qoperator_u8s8_perchannel")
PIXELS = ("yolox", "resnet8")
"""Float networks that expect values 0 … 255; the others see values around 0."""


def plan_of(name: str) -> Plan:
    path = FOLDER / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"no {path.name} in the data folder")
    return make_plan(load(path))


def feeds_of(name: str, plan: Plan) -> list[np.ndarray]:
    """Random noise."""
    rng = np.random.default_rng(0)
    spread, shift = (255.0, 0.0) if any(p in name for p in PIXELS) else (2.0, -1.0)
    feeds = []
    for port in plan.inputs:
        slot = plan.slots[port.slot]
        dtype = DTYPES[slot.dtype]
        if dtype.kind == "f":
            feeds.append((rng.random(slot.shape) * spread + shift).astype(dtype))
        else:
            feeds.append(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, slot.shape, dtype, endpoint=True))
    return feeds


@pytest.mark.parametrize("name", MODELS)
def test_layers_in_int8(name: str) -> None:
    plan = plan_of(name)
    found = int8.layers(plan)
    assert (len(found), sum(not f.int8 for f in found)) == MODELS[name]
    assert plan.fallbacks == ()


@pytest.mark.parametrize("name", [n for n in MODELS if n not in YOLOX])
def test_nothing_is_in_float_between_the_first_and_the_last_step(name: str) -> None:
    plan = plan_of(name)
    floats = [s.kernel for s in plan.steps if s.kernel.endswith(("_f32", "_x32"))]
    assert floats in ([], ["quantize_f32"])


class Arena:
    """The plan's tensors where the plan has them, step by step."""

    def __init__(self, plan: Plan, feeds: list[np.ndarray]) -> None:
        self.plan, self.feeds, self.bytes = plan, feeds, np.zeros(plan.arena_bytes, np.uint8)

    def array(self, index: int) -> np.ndarray | None:
        if index == ABSENT:
            return None
        slot = self.plan.slots[index]
        if slot.place == "arena":
            return self.bytes[slot.offset : slot.offset + slot.nbytes].view(DTYPES[slot.dtype]).reshape(slot.shape)
        return (self.feeds if slot.place == "input" else self.plan.constants)[slot.offset].reshape(slot.shape)


def in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """QLinearConv as DequantizeLinear, Conv, QuantizeLinear; the quantised tensors keep their names."""
    nodes = []
    for node in standard(model, "model").graph.node:
        if node.op_type != "QLinearConv":
            nodes.append(node)
            continue
        i, y = list(node.input), node.output[0]
        nodes.append(helper.make_node("DequantizeLinear", i[0:3], [f"{y}~x"]))
        nodes.append(helper.make_node("DequantizeLinear", i[3:6], [f"{y}~w"], axis=0))
        if len(i) > 8:
            nodes.append(helper.make_node("Mul", [i[1], i[4]], [f"{y}~s"]))
            nodes.append(helper.make_node("DequantizeLinear", [i[8], f"{y}~s"], [f"{y}~b"], axis=0))
        nodes.append(helper.make_node("Conv", [f"{y}~x", f"{y}~w", *([f"{y}~b"] if len(i) > 8 else [])], [f"{y}~y"]))
        nodes[-1].attribute.extend(node.attribute)
        nodes.append(helper.make_node("QuantizeLinear", [f"{y}~y", *i[6:8]], [y]))
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def runtime_tensors(name: str, plan: Plan, feeds: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Every quantised tensor of the model and its outputs, as ONNX Runtime has them in float."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = in_float(onnx.load(FOLDER / f"{name}.onnx"))
    outputs = {o.name for o in model.graph.output}
    wanted = [o for n in model.graph.node if n.op_type == "QuantizeLinear" for o in n.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in dict.fromkeys(wanted) if o not in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {p.name: x for p, x in zip(plan.inputs, feeds, strict=True)})
    return {o.name: r for o, r in zip(session.get_outputs(), results, strict=True)}


def steps_off(found: np.ndarray, tensor: np.ndarray) -> np.ndarray | None:
    """Differences, with channels last where the plan has it so; None where the plan moved the elements otherwise. Where both
    layouts have the same shape it is the one that fits better."""
    last = np.moveaxis(tensor, 1, -1) if tensor.ndim > 2 else tensor
    fitting = [t.reshape(found.shape) for t in (tensor, last) if [n for n in t.shape if n != 1] == [n for n in found.shape if n != 1]]
    return min((found.astype(np.int64) - t for t in fitting), key=lambda d: np.count_nonzero(d), default=None)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in YOLOX else n for n in MODELS])
def test_every_layer_is_within_a_step(name: str) -> None:
    """Each layer gets ONNX Runtime's results of those before it, so that nothing adds up."""
    plan = plan_of(name)
    feeds = feeds_of(name, plan)
    expected, arena, compared = runtime_tensors(name, plan, feeds), Arena(plan, feeds), []
    for step in plan.steps:
        outputs = [arena.array(k) for k in step.outputs]
        KERNELS[step.kernel]([arena.array(k) for k in step.inputs], dict(step.attrs), outputs, None)
        for index, found in zip(step.outputs, outputs, strict=True):
            tensor = expected.get(plan.slots[index].name)
            off = None if tensor is None or found.dtype.itemsize > 1 else steps_off(found, tensor)
            if off is not None:
                compared.append((step.kernel, step.node, int(np.abs(off).max()), float(np.mean(off != 0))))
                found -= off.astype(found.dtype)
    assert [c for c in compared if c[2] > 1 or c[3] > 0.1] == []  # 0.1: dead channels of mlperf_vww96 end half-way between two steps
    assert len(compared) >= 0.8 * sum(layer.int8 for layer in int8.layers(plan))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in YOLOX else n for n in MODELS])
def test_answers(name: str) -> None:
    """From end to end on noise, where steps add up over up to 113 layers, and a softmax multiplies them."""
    plan = plan_of(name)
    feeds = feeds_of(name, plan)
    expected = runtime_tensors(name, plan, feeds)
    for port, found in zip(plan.outputs, PythonExecutor(plan).run(feeds).outputs, strict=True):
        real = expected[port.name]
        assert found.dtype == real.dtype and found.shape == real.shape
        zero = 0.0 if real.dtype.kind == "f" else float(real.min())
        error = np.linalg.norm(found.astype(np.float64) - real) / np.linalg.norm(real.astype(np.float64) - zero)
        assert error < (0.15 if name not in YOLOX else 0.25)  # of unrelated answers: about 1


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in YOLOX else n for n in MODELS])
def test_the_engine_has_the_same_bits(name: str) -> None:
    if not engine.available():
        pytest.skip("the C++ engine is not built")
    plan = plan_of(name)
    if engine.unsupported(plan):
        pytest.skip(f"the C++ engine lacks {engine.unsupported(plan)}")
    feeds = feeds_of(name, plan)
    for a, b in zip(engine.EngineExecutor(plan).run(feeds).outputs, PythonExecutor(plan).run(feeds).outputs, strict=True):
        np.testing.assert_array_equal(a, b)
