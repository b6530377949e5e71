"""C kernels over sizes around their tiles, against the Python executor, with address and undefined-behaviour sanitizers."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import pytest
from firmware import DSP, SANITIZED, agree, build, of_plan
from onnx import TensorProto, helper, numpy_helper

from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun_tools.codegen import golden

# inputs, outputs, kernel, strides, pads (top, left, bottom, right), dilations, group, height, width
CONVOLUTIONS = {
    "one pixel": (1, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 1, 1),
    "pointwise": (5, 7, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 3, 3),
    "pointwise, even": (8, 8, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 4, 6),
    "pointwise, strided": (4, 9, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1, 5, 7),
    "same": (3, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 7, 9),
    "same, many": (16, 17, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 5, 10),
    "tall, strided": (1, 8, (10, 4), (2, 2), (4, 1, 5, 1), (1, 1), 1, 25, 10),
    "only at the end padded": (6, 5, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 1, 8, 8),
    "dilated": (3, 6, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1, 6, 7),
    "window larger than the image": (2, 3, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1, 2, 2),
    "groups": (6, 9, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3, 5, 6),
    "groups of one output": (8, 4, (2, 2), (1, 1), (0, 0, 0, 0), (1, 1), 4, 4, 5),
    "depthwise": (9, 9, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 9, 6, 7),
    "depthwise, strided": (8, 8, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 8, 8, 9),
    "depthwise, of few columns": (4, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4, 5, 1),
    "depthwise, dilated": (5, 5, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 5, 6, 6),
    "depthwise, one column": (6, 6, (5, 1), (1, 1), (0, 0, 0, 0), (1, 1), 6, 9, 1),
    "depthwise, two of each": (3, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3, 5, 5),
}


def model_of(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    infos = [[helper.make_tensor_value_info(n, t, s) for n, t, s in group] for group in (inputs, outputs)]
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "test", infos[0], infos[1], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check(model: onnx.ModelProto, folder, kernels: set[str], flags=SANITIZED, seeds=(2, 3)) -> None:
    """C agrees with the Python executor, and the plan has the kernels meant."""
    plan = make_plan(load(model), checks="off")
    assert kernels <= {s.kernel for s in plan.steps}
    feeds = [golden.feeds(plan, seed) for seed in seeds]
    runner = PythonExecutor(plan)
    expected = [list(runner.run(one).outputs) for one in feeds]
    found = build(of_plan(plan), folder, flags=flags).run(feeds)
    assert all(agree(f, e, 1e-5) for one, truth in zip(found, expected, strict=True) for f, e in zip(one, truth, strict=True))


def attributes(case) -> dict:
    _, _, kernel, strides, pads, dilations, group, _, _ = case
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations, "group": group}


def output_shape(case, batch) -> list[int]:
    _, outputs, kernel, strides, pads, dilations, _, *size = case
    return [batch, outputs, *((size[k] + pads[k] + pads[2 + k] - (kernel[k] - 1) * dilations[k] - 1) // strides[k] + 1 for k in range(2))]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_float_convolution(name, tmp_path):
    """Four ways to end: nothing, bias and relu, residual and bounds, sigmoid; of two images."""
    case = CONVOLUTIONS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shape = output_shape(case, 2)
    constants = {"low": np.float32(-1), "high": np.float32(2), "b": rng.standard_normal(case[1]).astype(np.float32)}
    constants |= {f"w{k}": rng.standard_normal((case[1], case[0] // case[6], *case[2])).astype(np.float32) for k in range(4)}
    nodes = [helper.make_node("Conv", ["x", f"w{k}"] + (["b"] if k else []), [f"c{k}"], **attributes(case)) for k in range(4)]
    nodes += [helper.make_node("Relu", ["c1"], ["relu"]), helper.make_node("Add", ["c2", "r"], ["sum"]),
              helper.make_node("Clip", ["sum", "low", "high"], ["clip"]), helper.make_node("Sigmoid", ["c3"], ["sigmoid"])]
    inputs = [("x", TensorProto.FLOAT, [2, case[0], *case[7:]]), ("r", TensorProto.FLOAT, shape)]
    outputs = [(n, TensorProto.FLOAT, shape) for n in ("c0", "relu", "clip", "sigmoid")]
    kernel = "conv2d_dw_f32" if case[6] == case[0] > 1 else "conv2d_f32"
    check(model_of(nodes, inputs, outputs, constants), tmp_path, {kernel})


def quantised(case, k: int, data, weight, by_channel: bool) -> tuple[onnx.NodeProto, dict]:
    """QLinearConv number k and its constants."""
    rng = np.random.default_rng(k)
    w = rng.integers(np.iinfo(weight).min, np.iinfo(weight).max, (case[1], case[0] // case[6], *case[2]), weight, endpoint=True)
    scales = (rng.random(case[1]) * 0.01 + 0.001).astype(np.float32) if by_channel else np.float32(0.004)
    zeros = np.zeros(case[1], weight) if by_channel else weight(0 if weight == np.int8 else 77)
    constants = {"xs": np.float32(0.02), "xz": data(3), "w": w, "ws": scales, "wz": zeros, "ys": np.float32(0.0115 * np.sqrt(w[0].size)),
                 "yz": data(100), "b": rng.integers(-3000, 3000, case[1]).astype(np.int32)}
    names = [f"{n}{k}" for n in ("xs", "xz", "w", "ws", "wz", "ys", "yz", "b")]
    node = helper.make_node("QLinearConv", [f"x_{np.dtype(data).name}", *names], [f"y{k}"], **attributes(case))
    return node, {f"{n}{k}": v for n, v in constants.items()}


FLAGS = [pytest.param(SANITIZED, id="plain", marks=pytest.mark.slow), pytest.param(DSP, id="dsp")]
"""Both forms of the kernels of bytes. Without DSP they run in the tests of nodes and models, too."""


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("flags", FLAGS)
def test_int8_convolution(name, flags, tmp_path):
    """int8 by int8 with a scale for each channel, uint8 by int8, uint8 by uint8 with a zero point; of two images."""
    case = CONVOLUTIONS[name]
    forms = ((np.int8, np.int8, True), (np.uint8, np.int8, False), (np.uint8, np.uint8, False))
    made = [quantised(case, k, *form) for k, form in enumerate(forms)]
    inputs = [("x_int8", TensorProto.INT8, [2, case[0], *case[7:]]), ("x_uint8", TensorProto.UINT8, [2, case[0], *case[7:]])]
    outputs = [(f"y{k}", TensorProto.UINT8 if k else TensorProto.INT8, output_shape(case, 2)) for k in range(3)]
    stem = "qconv2d_dw" if case[6] == case[0] > 1 else "qconv2d"
    model = model_of([n for n, _ in made], inputs, outputs, {n: v for _, c in made for n, v in c.items()})
    check(model, tmp_path, {f"{stem}_i8", f"{stem}_u8"}, flags)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 640, 9), (2, 7, 8), (3, 5, 4), (8, 16, 3), (13, 6, 10)])
def test_matrix_products(shape, tmp_path):
    m, k, n = shape
    rng = np.random.default_rng(m * k * n)
    constants = {"b": rng.standard_normal((k, n)).astype(np.float32), "c": rng.standard_normal(n).astype(np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "b", "c"], ["g"], alpha=0.5), helper.make_node("Relu", ["g"], ["y"])]
    check(model_of(nodes, [("x", TensorProto.FLOAT, [m, k])], [("y", TensorProto.FLOAT, [m, n])], constants), tmp_path, {"matmul_f32"})


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 640, 9), (2, 7, 8), (3, 5, 4), (8, 16, 3), (13, 6, 10)])
@pytest.mark.parametrize("flags", FLAGS)
def test_int8_matrix_products(shape, flags, tmp_path):
    m, k, n = shape
    rng = np.random.default_rng(m * k * n)
    b = rng.integers(-128, 127, (k, n), np.int8, endpoint=True)
    constants = {"xs": np.float32(0.02), "xz": np.int8(-7), "b": b, "bs": np.float32(0.01), "bz": np.int8(0), "ys": np.float32(0.4),
                 "yz": np.int8(5)}
    node = helper.make_node("QLinearMatMul", ["x", "xs", "xz", "b", "bs", "bz", "ys", "yz"], ["y"])
    model = model_of([node], [("x", TensorProto.INT8, [m, k])], [("y", TensorProto.INT8, [m, n])], constants)
    check(model, tmp_path, {"qmatmul_i8"}, flags)


def test_large_sums_take_wide_weights(tmp_path):
    w = np.full((2, 700), 127, np.int8)
    constants = {"xs": np.float32(1), "xz": np.int8(0), "b": w.T.copy(), "bs": np.float32(1), "bz": np.int8(0), "ys": np.float32(1e5),
                 "yz": np.int8(0)}
    node = helper.make_node("QLinearMatMul", ["x", "xs", "xz", "b", "bs", "bz", "ys", "yz"], ["y"])
    model = model_of([node], [("x", TensorProto.INT8, [1, 700])], [("y", TensorProto.INT8, [1, 2])], constants)
    plan = make_plan(load(model), checks="off")
    firmware = of_plan(plan)
    assert "ER_WIDE_WEIGHTS 1" in firmware.sources.source
    feeds = [[np.full((1, 700), v, np.int8)] for v in (-128, 127)]
    expected = [list(PythonExecutor(plan).run(one).outputs) for one in feeds]
    for found, truth in zip(build(firmware, tmp_path).run(feeds), expected, strict=True):
        np.testing.assert_array_equal(found[0], truth[0])
