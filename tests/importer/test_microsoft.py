"""ONNX Runtime's quantised operators: rewritten in standard ONNX, with ONNX Runtime's own answers; bad ones give typed errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun.errors import EdgeRunError, ModelFormatError, ShapeError, UnsupportedOpError
from edgerun.importer import load
from edgerun.importer.microsoft import standard

U8, I8, F = TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT
RNG = np.random.default_rng(4)
A, B, Y = [np.float32(0.03), np.uint8(100)], [np.float32(0.02), np.uint8(7)], [np.float32(0.05), np.uint8(30)]
W = RNG.integers(-60, 60, (4, 3)).astype(np.int8)
WT = np.ascontiguousarray(W.T)
C = RNG.integers(-900, 900, 3).astype(np.int32)

# name → (operator, shape of x, operands (None: x), attributes, result's type)
CASES = {
    "add": ("QLinearAdd", [2, 4], [None, *A, RNG.integers(0, 255, 4).astype(np.uint8), *B, *Y], {}, U8),
    "mul": ("QLinearMul", [2, 4], [None, *A, None, *A, *Y], {}, U8),
    "sigmoid": ("QLinearSigmoid", [2, 4], [None, *A, np.float32(1 / 256), np.uint8(0)], {}, U8),
    "leaky_relu": ("QLinearLeakyRelu", [2, 4], [None, *A, *Y], {"alpha": 0.2}, U8),
    "average_pool": ("QLinearAveragePool", [1, 3, 5, 6], [None, *A, *Y], {"kernel_shape": [2, 3], "strides": [2, 1]}, U8),
    "average_pool_channels_last": ("QLinearAveragePool", [1, 5, 6, 3], [None, *A, *Y], {"kernel_shape": [2, 3], "channels_last": 1}, U8),
    "global_average_pool": ("QLinearGlobalAveragePool", [1, 3, 5, 6], [None, *A, *Y], {}, U8),
    "concat": ("QLinearConcat", [2, 4], [*Y, None, *A, None, *B], {"axis": 1}, U8),
    "softmax": ("QLinearSoftmax", [2, 4], [None, *A, np.float32(1 / 256), np.uint8(0)], {"axis": -1, "opset": 13}, U8),
    "softmax_of_all": ("QLinearSoftmax", [2, 3, 4], [None, *A, np.float32(1 / 256), np.uint8(0)], {"axis": 1, "opset": 11}, U8),
    "gemm": ("QGemm", [2, 4], [None, *A, W, np.float32(0.01), np.int8(0), C, *Y], {}, U8),
    "gemm_columns": ("QGemm", [2, 4], [None, *A, WT, np.float32([0.01, 0.02, 0.03]), np.int8([0, 0, 0]), C, *Y], {"transB": 1}, U8),
    "gemm_float": ("QGemm", [2, 4], [None, *A, W, np.float32(0.01), np.int8(0), C], {"alpha": 0.5}, F),
}


def model(op: str, shape: list, operands: list, attrs: dict, dtype: int = U8, opset: int = 13, kind: int = U8) -> onnx.ModelProto:
    """x → the operator → y. Operands: arrays, None for x, "" for one that is absent."""
    names, constants = [], []
    for k, operand in enumerate(operands):
        name = "x" if operand is None else "" if isinstance(operand, str) else f"k{k}"
        names.append(name)
        if name.startswith("k"):
            constants.append(numpy_helper.from_array(np.asarray(operand), name))
    node = helper.make_node(op, names, ["y"], "n", domain="com.microsoft", **attrs)
    ports = [helper.make_tensor_value_info("x", kind, shape)], [helper.make_tensor_value_info("y", dtype, None)]
    graph = helper.make_graph([node], "test", *ports, constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return onnx.shape_inference.infer_shapes(_shaped(helper.make_model(graph, opset_imports=opsets, ir_version=8)))


def _shaped(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The checker wants shapes of outputs, and knows no com.microsoft: those of the standard form."""
    try:
        found = onnx.shape_inference.infer_shapes(standard(proto, "m")).graph.output[0].type.tensor_type
        shape = found.shape if found.HasField("shape") else proto.graph.input[0].type.tensor_type.shape
        proto.graph.output[0].type.tensor_type.shape.CopyFrom(shape)
    except EdgeRunError:
        proto.graph.output[0].type.tensor_type.shape.SetInParent()
    return proto


def feed(shape: list) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(8).integers(0, 256, shape).astype(np.uint8)}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_onnx_runtime(run_plan, case: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    op, shape, operands, attrs, dtype = CASES[case]
    proto = model(op, shape, operands, attrs, dtype)
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed(shape))
    (found,), plan = run_plan(proto, feed(shape))
    assert found.dtype == expected.dtype and found.shape == expected.shape and plan.fallbacks == ()
    assert np.max(np.abs(found.astype(np.float64) - expected)) <= (1 if dtype == U8 else 1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if c != "gemm_float"])
def test_they_run_on_integers(run_plan, case: str) -> None:
    op, shape, operands, attrs, dtype = CASES[case]
    _, plan = run_plan(model(op, shape, operands, attrs, dtype), feed(shape))
    assert [s.kernel for s in plan.steps if s.kernel.endswith(("_f32", "_x32"))] == []


def test_an_absent_zero_point_is_0_of_the_operands_type(run_plan) -> None:
    x = feed([2, 4])
    (found,), _ = run_plan(model("QLinearAdd", [2, 4], [None, A[0], "", None, B[0], "", Y[0], ""], {}), x)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.clip(np.rint(x["x"] * (A[0] + B[0]) / Y[0]), 0, 255))


def test_results_keep_their_names_and_the_model_stays_as_it_is() -> None:
    op, shape, operands, attrs, dtype = CASES["add"]
    proto = model(op, shape, operands, attrs, dtype)
    before = proto.SerializeToString()
    made = standard(proto, "m")
    assert made.graph.node[-1].output[0] == "y" and {n.domain for n in made.graph.node} == {""}
    assert proto.SerializeToString() == before


def test_new_names_are_new() -> None:
    op, shape, operands, attrs, dtype = CASES["mul"]
    proto = model(op, shape, operands, attrs, dtype)
    proto.graph.node.append(helper.make_node("Identity", ["x"], ["y/A_real"]))
    outputs = [o for n in standard(proto, "m").graph.node for o in n.output]
    assert len(outputs) == len(set(outputs))


def test_a_function_of_that_name_is_not_rewritten() -> None:
    proto = model(*CASES["add"])
    body = [helper.make_node("Identity", ["a"], ["c"])]
    proto.functions.append(helper.make_function("com.microsoft", "QLinearAdd", ["a"], ["c"], body, [helper.make_opsetid("", 13)]))
    assert standard(proto, "m") is proto


def test_a_model_without_them_is_itself(add_bytes: bytes) -> None:
    proto = onnx.ModelProto.FromString(add_bytes)
    assert standard(proto, "m") is proto


ADD = CASES["add"][2]
POOL = CASES["average_pool"][2]


@pytest.mark.parametrize(("op", "operands", "attrs", "error", "text"), [
    ("QLinearAdd", ADD[:3], {}, ModelFormatError, r"input 3 \(B\): expected an operand, found none"),
    ("QLinearAdd", [*ADD[:6], "", Y[1]], {}, ModelFormatError, "scale of the result"),
    ("QLinearAdd", [None, *A, None, *A, np.float32(-1), Y[1]], {}, ModelFormatError, "scale: expected finite numbers above 0"),
    ("QLinearAdd", [None, np.int32(1), A[1], None, *A, *Y], {}, (ShapeError, ModelFormatError), "DequantizeLinear"),
    ("QLinearAveragePool", POOL, {}, ModelFormatError, "kernel_shape: expected list, found NoneType"),
    ("QLinearAveragePool", POOL, {"kernel_shape": "3"}, ModelFormatError, "kernel_shape: expected list"),
    ("QLinearAveragePool", POOL, {"kernel_shape": [0, 0]}, ModelFormatError, "kernel_shape: expected 1 or more"),
    ("QLinearGlobalAveragePool", POOL, {"channels_last": 1}, UnsupportedOpError, "channels_last"),
    ("QLinearConcat", [*Y, None, A[0]], {"axis": 0}, ModelFormatError, "three inputs for each tensor"),
    ("QLinearConcat", [*Y, None, *A], {}, ModelFormatError, "axis: expected int, found NoneType"),
    ("QLinearConcat", [], {"axis": 0}, ModelFormatError, "three inputs for each tensor"),
    ("QLinearSoftmax", [None, *A, *Y], {"opset": "13"}, ModelFormatError, "opset: expected int"),
    ("QGemm", [None, *A], {}, ModelFormatError, "input 3"),
    ("QAttention", [None, *A], {}, UnsupportedOpError, "QAttention"),
], ids=str)
def test_bad_ones_give_typed_errors(op: str, operands: list, attrs: dict, error, text: str) -> None:
    proto = model(op, [1, 3, 4], operands, attrs)
    with pytest.raises(error, match=text):
        load(proto)


def test_names_that_are_no_text() -> None:
    data = model(*CASES["add"]).SerializeToString().replace(b"\x0a\x02k1", b"\x0a\x02\xff\xfe")
    with pytest.raises(ModelFormatError):
        load(data)


def test_an_old_opset_has_no_quantisation() -> None:
    with pytest.raises(EdgeRunError, match="opset 9"):
        load(model(*CASES["add"], opset=9))
