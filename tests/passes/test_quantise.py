"""Quantised patterns become int8 kernels, with answers within one step of onnx.reference; what stays in float says why."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgerun.executors import engine
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import int8, make_plan

F, I8, U8, I16 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16
DTYPES = {I8: np.int8, U8: np.uint8, I16: np.int16}
OPSET = 21


class Net:
    """Nodes and constants of a model; every method returns the name of its result."""

    def __init__(self, seed: int = 5) -> None:
        self.nodes, self.constants, self.rng = [], {}, np.random.default_rng(seed)

    def const(self, array: np.ndarray) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def node(self, op: str, *inputs: str, output: str = "", **attrs: object) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], f"{op.lower()}{len(self.nodes)}", **attrs))
        return output

    def q(self, x: str, scale: float, zero: int = 0, dtype: int = I8, output: str = "") -> str:
        return self.node("QuantizeLinear", x, self.const(np.float32(scale)), self.const(DTYPES[dtype](zero)), output=output)

    def dq(self, x: str, scale: float, zero: int = 0, dtype: int = I8) -> str:
        return self.node("DequantizeLinear", x, self.const(np.float32(scale)), self.const(DTYPES[dtype](zero)))

    def x(self, scale: float = 0.05, zero: int = -7) -> str:
        """The input in float."""
        return self.dq("x", scale, zero)

    def weights(self, *shape: int, axis: int | None = None, dtype: int = I8, zero: int = 0) -> str:
        """A dequantised constant of random integers, with one scale or one for each index on `axis`."""
        info = np.iinfo(DTYPES[dtype])
        values = self.rng.integers(info.min, info.max, shape, endpoint=True).astype(DTYPES[dtype])
        scale = np.float32(0.02) if axis is None else (self.rng.random(shape[axis]) * 0.03 + 0.001).astype(np.float32)
        zeros = np.full(np.shape(scale), zero, DTYPES[dtype])
        attrs = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", self.const(values), self.const(scale), self.const(zeros), **attrs)

    def bias(self, n: int, scale: float = 0.0004) -> str:
        steps = self.rng.integers(-5000, 5000, n).astype(np.int32)
        return self.node("DequantizeLinear", self.const(steps), self.const(np.float32(scale)), self.const(np.int32(0)))


def conv(net: Net, x: str, group: int = 1, dtype: int = I8, axis: int | None = 0, zero: int = 0, **attrs: object) -> str:
    w = net.weights(4, 4 // group, 3, 3, axis=axis, dtype=dtype, zero=zero)
    return net.node("Conv", net.dq(x, 0.02, 3), w, net.bias(4), pads=[1, 1, 1, 1], group=group, **attrs)


def matmul(net: Net) -> str:
    return net.node("MatMul", net.x(0.02, 3), net.weights(8, 5))


IMAGE, ROWS = ("x", I8, [1, 4, 8, 6]), ("x", I8, [3, 8])


def sigmoid_gate(net: Net, op: str = "Sigmoid") -> str:
    x = net.x()
    return net.q(net.node("Mul", x, net.node(op, x)), 0.03, -20)


def two(net: Net, op: str, relu: bool = False, second: int = U8) -> str:
    other = net.q(net.x(), 0.021, 5 if second == I8 else 120, second)
    y = net.node(op, net.x(), net.dq(other, 0.021, 5 if second == I8 else 120, second))
    return net.q(net.node("Relu", y) if relu else y, 0.06, -10)


def residual(net: Net, op: str = "Add", after: str = "", twice: bool = False) -> str:
    """x + silu(z), z a function of x; with twice also + tanh(u) of a third tensor."""
    z, u = (net.dq(net.q(net.x(), s, 5, d), s, 5, d) for s, d in ((0.031, I8), (0.021, U8)))
    y = net.node(op, net.x(), net.node("Mul", z, net.node("Sigmoid", z)))
    y = net.node(op, net.node("Tanh", u), y) if twice else y
    return net.q(net.node(after, y) if after else y, 0.07, -10)


# name → (input, builder of the result, kernels without transposes, whether every bit is as the reference has it)
CASES = {
    "conv": (IMAGE, lambda n: n.q(conv(n, "x"), 0.09, -4), ["qconv2d_i8"], False),
    "conv_relu": (IMAGE, lambda n: n.q(n.node("Relu", conv(n, "x")), 0.09, -128), ["qconv2d_i8"], False),
    "conv_clip_to_uint8": (IMAGE, lambda n: n.q(n.node("Clip", conv(n, "x"), n.const(np.float32(-1)), n.const(np.float32(6))), 0.05, 9, U8),
                           ["qconv2d_i8"], False),
    "conv_depthwise": (IMAGE, lambda n: n.q(conv(n, "x", group=4), 0.03, 1), ["qconv2d_dw_i8"], False),
    "conv_grouped_strided": (IMAGE, lambda n: n.q(conv(n, "x", group=2, strides=[2, 1], dilations=[1, 2]), 0.03, 1),
                             ["qconv2d_i8"], False),
    "conv_of_uint8_weights": (IMAGE, lambda n: n.q(conv(n, "x", dtype=U8, axis=None, zero=131), 0.2, 1), ["qconv2d_i8"], False),
    "conv_max_pool_relu": (IMAGE, lambda n: n.q(n.node("Relu", n.node("MaxPool", conv(n, "x"), kernel_shape=[2, 2], strides=[2, 2])), 0.09),
                           ["qconv2d_i8", "max_pool2d_i8"], False),
    "pad_conv": (IMAGE, lambda n: _padded(n), ["qconv2d_i8"], False),
    "matmul_add_relu": (ROWS, lambda n: n.q(n.node("Relu", n.node("Add", matmul(n), n.bias(5))), 0.05),
                        ["qmatmul_i8"], False),
    "gemm_transposed": (ROWS, lambda n: n.q(n.node("Gemm", n.x(), n.weights(5, 8, axis=0), n.bias(5), transB=1, alpha=0.5), 0.02, -9),
                        ["qmatmul_i8"], False),
    "matmul_of_two": (ROWS, lambda n: n.q(n.node("MatMul", n.dq("x", 0.05, 9), n.node("Transpose", n.dq("x", 0.05, 9))), 0.7, 3),
                      ["transpose_x8", "qmatmul_i8"], False),
    "add": (ROWS, lambda n: two(n, "Add"), ["lut_x8", "qadd_i8"], False),
    "add_relu": (ROWS, lambda n: two(n, "Add", relu=True, second=I8), ["lut_x8", "qadd_i8"], False),
    "sub": (ROWS, lambda n: two(n, "Sub"), ["lut_x8", "qadd_i8"], False),
    "mul": (ROWS, lambda n: two(n, "Mul", second=I8), ["lut_x8", "qmul_i8"], False),
    "add_constant": (ROWS, lambda n: n.q(n.node("Add", n.weights(8, dtype=U8, zero=100), n.x()), 0.06, 2), ["qadd_i8"], False),
    "residual": (ROWS, residual, ["lut_x8", "lut_add_x8"], False),
    "residual_relu": (ROWS, lambda n: residual(n, after="Relu"), ["lut_x8", "lut_add_x8"], False),
    "difference": (ROWS, lambda n: residual(n, "Sub"), ["lut_x8", "lut_add_x8"], False),
    "sum_of_three": (ROWS, lambda n: residual(n, twice=True), ["lut_x8", "lut_x8", "lut_add_x8"], False),
    "difference_of_three": (ROWS, lambda n: residual(n, "Sub", twice=True), ["lut_x8", "lut_x8", "lut_add_x8"], False),
    "average_pool": (IMAGE, lambda n: n.q(n.node("AveragePool", n.x(), kernel_shape=[3, 2], pads=[1, 1, 1, 0], strides=[2, 2]), 0.03, 4),
                     ["qaverage_pool2d_i8"], False),
    "average_pool_with_padding": (IMAGE, lambda n: n.q(n.node("AveragePool", n.x(), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                                              count_include_pad=1), 0.03, 4), ["qaverage_pool2d_i8"], False),
    "global_average_pool": (IMAGE, lambda n: n.q(n.node("GlobalAveragePool", n.x()), 0.01, 4), ["qaverage_pool2d_i8"], False),
    "mean": (IMAGE, lambda n: n.q(n.node("ReduceMean", n.x(), n.const(np.array([2, 3])), keepdims=0), 0.01, 4),
             ["qaverage_pool2d_i8"], False),
    "softmax": (ROWS, lambda n: n.q(n.node("Softmax", n.x(), axis=0), 1 / 256, -128), ["qsoftmax_i8"], False),
    "max_pool": (IMAGE, lambda n: n.q(n.node("MaxPool", n.x(), kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0.05, -7),
                 ["max_pool2d_i8"], True),
    "reshape": (ROWS, lambda n: n.q(n.node("Reshape", n.x(), n.const(np.array([4, 6]))), 0.05, -7), ["copy_x8"], True),
    "slice": (ROWS, lambda n: n.q(n.node("Slice", n.x(), n.const(np.array([2])), n.const(np.array([8])), n.const(np.array([1]))), 0.05, -7),
              ["slice_x8"], True),
    "split_concat": (ROWS, lambda n: _swapped(n), ["split_x8", "concat_x8"], True),
    "concat_of_two_scales": (ROWS, lambda n: n.q(n.node("Concat", n.x(), n.node("Sigmoid", n.x()), axis=1), 0.05, -7),
                             ["lut_x8", "concat_x8"], False),
    "gather": (ROWS, lambda n: n.q(n.node("Gather", n.x(), n.const(np.array([2, 0])), axis=0), 0.05, -7), ["gather_x8"], True),
    "pad_with_a_value": (ROWS, lambda n: n.q(n.node("Pad", n.x(), n.const(np.array([0, 1, 1, 0])), n.const(np.float32(1.5))), 0.05, -7),
                         ["pad_x8"], True),
    "resize": (IMAGE, lambda n: n.q(n.node("Resize", n.x(), "", n.const(np.float32([1, 1, 2, 2])), mode="nearest"), 0.05, -7),
               ["resize_nearest_x8"], True),
    "requantise": (ROWS, lambda n: n.q(n.x(), 0.031, 100, U8), ["lut_x8"], True),
    "sigmoid": (ROWS, lambda n: n.q(n.node("Sigmoid", n.x()), 1 / 256, -128), ["lut_x8"], False),
    "silu": (ROWS, sigmoid_gate, ["lut_x8"], False),
    "hard_swish": (ROWS, lambda n: sigmoid_gate(n, "HardSigmoid"), ["lut_x8"], False),
    "leaky_relu_of_sum": (ROWS, lambda n: n.q(n.node("LeakyRelu", n.node("Add", n.x(), n.const(np.float32(0.3)))), 0.04),
                          ["lut_x8"], False),
    "softplus": (ROWS, lambda n: n.q(n.node("Softplus", n.x()), 0.04), ["lut_x8"], False),
}


def _padded(net: Net) -> str:
    y = net.q(net.node("Pad", net.x(0.02, 3), net.const(np.array([0, 0, 1, 0, 0, 0, 1, 2]))), 0.02, 3)
    return net.q(net.node("Conv", net.dq(y, 0.02, 3), net.weights(4, 4, 3, 3)), 0.2)


def _swapped(net: Net) -> str:
    x = net.x()
    net.nodes.append(helper.make_node("Split", [x], ["a", "b"], "split", axis=1, num_outputs=2))
    return net.q(net.node("Concat", "b", "a", axis=1), 0.05, -7)


def made(build, port=ROWS) -> onnx.ModelProto:
    """A model whose result, of the type that its "quantize" has, is called y."""
    net = Net()
    y = build(net)
    dtype = next(k for k, t in DTYPES.items() if t == net.constants[net.nodes[-1].input[2]].dtype)
    net.node("Identity", y, output="y")
    inputs, outputs = [helper.make_tensor_value_info(*port)], [helper.make_tensor_value_info("y", dtype, None)]
    graph = helper.make_graph(net.nodes, "test", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in net.constants.items()])
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return onnx.shape_inference.infer_shapes(found, strict_mode=True)


def model(case: str) -> onnx.ModelProto:
    return made(CASES[case][1], CASES[case][0])


def steps_of(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    return np.abs(found.astype(np.int64) - expected.astype(np.int64))


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_within_a_step(run_plan, case: str) -> None:
    proto = model(case)
    x = np.random.default_rng(1).integers(-128, 128, CASES[case][0][2]).astype(np.int8)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    (found,), _ = run_plan(proto, {"x": x})
    off = steps_of(found, expected)
    assert off.max() <= (0 if CASES[case][3] else 1) and np.mean(off == 0) > 0.9
    assert len(np.unique(found)) > 3


@pytest.mark.parametrize("case", CASES)
def test_the_kernels(case: str) -> None:
    plan = make_plan(load(model(case)))
    kept = CASES[case][2]
    assert Counter(s.kernel for s in plan.steps if s.kernel in kept or not s.kernel.startswith("transpose")) == Counter(kept)


@pytest.mark.parametrize("case", CASES)
def test_the_engine_has_the_same_bits(case: str) -> None:
    if not engine.available():
        pytest.skip("the C++ engine is not built")
    plan = make_plan(load(model(case)))
    x = np.random.default_rng(2).integers(-128, 128, CASES[case][0][2]).astype(np.int8)
    runner = engine.EngineExecutor(plan)
    np.testing.assert_array_equal(runner.run([x]).outputs[0], PythonExecutor(plan).run([x]).outputs[0])


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][2][-1] not in ("lut_x8", "copy_x8")])
def test_all_layers_are_said_to_be_in_int8(case: str) -> None:
    plan = make_plan(load(model(case)))
    assert [layer.reason for layer in int8.layers(plan) if not layer.int8] == []


def test_a_bias_keeps_the_integers_of_the_model(model_of) -> None:
    """float32 cannot hold them: 24 of 31 bits."""
    steps = np.array([2**30 + 1, -(2**30) - 3, 16777217], np.int32)
    net = Net()
    w = net.node("DequantizeLinear", net.const(np.eye(3, dtype=np.int8)), net.const(np.float32(0.3)))
    b = net.node("DequantizeLinear", net.const(steps), net.const(np.float32(0.3) * np.float32(0.7)))
    net.q(net.node("Add", net.node("MatMul", net.dq("x", 0.7), w), b), 1e6, output="y")
    plan = make_plan(load(model_of(net.nodes, [("x", I8, [1, 3])], [("y", I8, [1, 3])], net.constants, opset=OPSET)))
    (step,) = plan.steps
    np.testing.assert_array_equal(plan.constants[plan.slots[step.inputs[2]].offset], steps)


def test_a_softmax_with_a_float_result_reads_integers(model_of, run_plan) -> None:
    net = Net()
    net.node("Softmax", net.x(), output="y")
    proto = model_of(net.nodes, [ROWS], [("y", F, [3, 8])], net.constants, opset=OPSET)
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    np.testing.assert_allclose(found, ReferenceEvaluator(proto).run(None, {"x": x})[0], atol=2**-24)
    assert [s.kernel for s in plan.steps] == ["qsoftmax_i8"]


def _weights_in_float(net: Net) -> str:
    return net.q(net.node("MatMul", net.dq("x", 0.02), net.const(net.rng.random((8, 5)).astype(np.float32))), 0.05)


def _input_in_float(net: Net) -> str:
    return net.q(net.node("MatMul", net.node("Cast", "x", to=F), net.weights(8, 5)), 0.05)


def _activation_between(net: Net) -> str:
    return net.q(net.node("Sigmoid", net.node("MatMul", net.dq("x", 0.02), net.weights(8, 5))), 1 / 256)


def _used_twice(net: Net) -> str:
    y = net.node("MatMul", net.dq("x", 0.02), net.weights(8, 8))
    return net.q(net.node("Add", net.node("Relu", y), net.dq(net.q(y, 0.05), 0.05)), 0.05)


def _sixteen_bits(net: Net) -> str:
    y = net.q(net.node("Cast", "x", to=F), 0.001, 0, I16)
    return net.q(net.node("MatMul", net.dq(y, 0.001, 0, I16), net.weights(8, 5)), 0.05)


def _scales_of_rows(net: Net) -> str:
    return net.q(net.node("MatMul", net.dq("x", 0.02), net.weights(8, 5, axis=0)), 0.05)


def _depthwise_used_twice(net: Net) -> str:
    y = net.node("Reshape", "x", net.const(np.array([1, 4, 3, 2])))
    y = conv(net, y, group=4)
    return net.q(net.node("Add", net.node("Relu", y), net.dq(net.q(y, 0.05), 0.05)), 0.05)


def _slope_of_channels(net: Net) -> str:
    return net.q(net.node("PRelu", net.dq("x", 0.02), net.const(np.linspace(0, 1, 8, dtype=np.float32))), 0.05)


def _other_operator(net: Net) -> str:
    return net.q(net.node("CumSum", net.dq("x", 0.02), net.const(np.array(0))), 0.05)


@pytest.mark.parametrize(("build", "op", "reason"), [
    (_weights_in_float, "MatMul", "its weights are not quantised"),
    (_input_in_float, "MatMul", "its input is the float result of Cast"),
    (_activation_between, "Sigmoid", "its input is the float result of MatMul"),
    (_used_twice, "Relu", "its input is the float result of MatMul"),
    (_depthwise_used_twice, "Conv", "its result is also used in float"),
    (_sixteen_bits, "MatMul", "its input is quantised with i16"),
    (_scales_of_rows, "MatMul", "its weights have several scales within an output channel"),
    (_slope_of_channels, "PRelu", "its constant operand differs from element to element"),
    (_other_operator, "CumSum", "cum_sum has no int8 kernel"),
], ids=lambda v: getattr(v, "__name__", ""))
def test_what_stays_in_float_says_why(run_plan, build, op: str, reason: str) -> None:
    proto = made(build)
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    said = {plan.steps[layer.step].op: layer.reason for layer in int8.layers(plan)}
    assert reason in next(r for name, r in said.items() if name.startswith(op))
    assert steps_of(found, ReferenceEvaluator(proto).run(None, {"x": x})[0]).max() <= 1


def _plain(net: Net) -> str:
    return net.node("MatMul", net.x(), net.weights(8, 5))


def _with_bias(net: Net) -> str:
    return net.node("Gemm", net.x(), net.weights(5, 8, axis=0), net.const(net.rng.random(5).astype(np.float32)), transB=1)


def _of_two(net: Net) -> str:
    return net.node("MatMul", net.x(), net.node("Transpose", net.x()))


@pytest.mark.parametrize(("build", "kernels"), [
    (_plain, ["qmatmul_i8", "dequantize_i32"]), (_with_bias, ["qmatmul_i8", "cast_i32_f32", "batch_norm_f32"]),
    (_of_two, ["transpose_x8", "qmatmul_i8", "dequantize_i32"]),
], ids=["plain", "bias", "two"])
def test_a_float_result_is_made_of_integer_sums(model_of, run_plan, build, kernels: list[str]) -> None:
    net = Net()
    net.node("Tanh", build(net), output="y")
    width = 3 if build is _of_two else 5
    proto = model_of(net.nodes, [ROWS], [("y", F, [3, width])], net.constants, opset=OPSET)
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    np.testing.assert_allclose(found, ReferenceEvaluator(proto).run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)
    assert [s.kernel for s in plan.steps if s.kernel != "tanh_f32"] == kernels
    assert next(f.int8 for f in int8.layers(plan))


def _gate(net: Net) -> str:
    x = net.x()
    return net.node("Mul", x, net.node("Sigmoid", x))


def _scaled(net: Net) -> str:
    return net.node("Add", net.node("Mul", net.node("Exp", net.x()), net.const(np.float32(0.3))), net.const(np.float32(-2)))


def _wanted_twice(net: Net) -> str:
    y = net.node("Tanh", net.x())
    return net.node("Add", net.node("Exp", y), net.node("CumSum", y, net.const(np.array(1))))


@pytest.mark.parametrize(("build", "kernels"), [
    (lambda n: n.node("Sigmoid", n.x()), ["lut_x32"]),
    (_gate, ["lut_x32"]),
    (_scaled, ["lut_x32"]),
    (lambda n: n.node("Add", n.node("Sigmoid", n.x()), n.const(np.linspace(-1, 1, 8, dtype=np.float32))), ["lut_x32", "add_f32"]),
    (lambda n: n.node("Concat", n.node("Sigmoid", n.x()), n.x(), axis=0), ["lut_x32", "dequantize_i8", "concat_x32"]),
    (_wanted_twice, ["lut_x32", "cum_sum_f32", "lut_x32", "add_f32"]),
    (lambda n: n.node("Relu", n.x()), ["dequantize_i8", "relu_f32"]),
    (lambda n: n.node("Mul", n.x(), n.const(np.float32(0.7))), ["dequantize_i8", "mul_f32"]),
], ids=["sigmoid", "silu", "affine", "sum behind", "concat behind", "wanted twice", "relu", "product"])
def test_a_float_function_of_bytes_is_a_table(model_of, run_plan, build, kernels: list[str]) -> None:
    net = Net()
    y = build(net)
    net.node("Identity", y, output="y")
    proto = model_of(net.nodes, [ROWS], [("y", F, ["rows", "columns"])], net.constants, opset=OPSET)
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    np.testing.assert_allclose(found, ReferenceEvaluator(proto).run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)
    assert Counter(s.kernel for s in plan.steps) == Counter(kernels)
    assert [layer.reason for layer in int8.layers(plan) if plan.steps[layer.step].kernel == "lut_x32" and not layer.int8] == []
    if engine.available():
        again = engine.EngineExecutor(plan).run([x]).outputs[0]
        np.testing.assert_array_equal(again.view(np.uint32), PythonExecutor(plan).run([x]).outputs[0].view(np.uint32))


def test_a_term_that_is_wanted_elsewhere_stays(model_of, run_plan) -> None:
    """The sum reads bytes; the function that it contains goes on in float."""
    net = Net()
    z = net.dq(net.q(net.x(), 0.031, 5), 0.031, 5)
    gate = net.node("Mul", z, net.node("Sigmoid", z))
    net.q(net.node("Add", net.x(), gate), 0.07, -10, output="y")
    net.node("Identity", gate, output="g")
    proto = model_of(net.nodes, [ROWS], [("y", I8, [3, 8]), ("g", F, [3, 8])], net.constants, opset=OPSET)
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (y, g), plan = run_plan(proto, {"x": x})
    expected = ReferenceEvaluator(proto).run(None, {"x": x})
    assert steps_of(y, expected[0]).max() <= 1
    np.testing.assert_allclose(g, expected[1], rtol=1e-5, atol=1e-6)
    assert Counter(s.kernel for s in plan.steps) == Counter(["lut_x8", "lut_add_x8", "lut_x32"])


def _many(net: Net, terms: int) -> str:
    y = net.node("Tanh", net.x())
    for k in range(1, terms):
        y = net.node("Add", y, net.node("Tanh", net.dq(net.q(net.x(), 0.02 + 0.001 * k), 0.02 + 0.001 * k)))
    return net.q(y, 0.05)


@pytest.mark.parametrize(("terms", "kernel"), [(8, "lut_add_x8"), (9, "add_f32"), (60, "add_f32")])
def test_more_terms_than_a_kernel_takes_are_added_in_float(run_plan, terms: int, kernel: str) -> None:
    proto = made(lambda n: _many(n, terms))
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    assert steps_of(found, ReferenceEvaluator(proto).run(None, {"x": x})[0]).max() <= 1
    assert kernel in {s.kernel for s in plan.steps} and ("lut_add_x8" in {s.kernel for s in plan.steps}) == (terms <= 8)


def _long_chain(net: Net, op: str) -> str:
    y = net.x()
    for _ in range(3000):
        y = net.node(op, y, net.x()) if op == "Add" else net.node(op, y)
    return net.q(y, 0.05)


@pytest.mark.parametrize("op", ["Tanh", "Add"])
def test_a_long_chain_is_no_deep_recursion(op: str) -> None:
    plan = make_plan(load(made(lambda n: _long_chain(n, op))))
    assert len(plan.steps) > 40


@pytest.mark.parametrize(("op", "scale", "reason"), [
    ("Tanh", 1e-9, "the scale of its result is too small for 32 bits"), ("Log", 0.05, "an operand is not finite for every byte"),
])
def test_a_sum_that_integers_cannot_hold_stays_in_float(run_plan, op: str, scale: float, reason: str) -> None:
    proto = made(lambda n: n.q(n.node("Add", n.x(), n.node(op, n.dq(n.q(n.x(), 0.031, 5), 0.031, 5))), scale))
    x = np.random.default_rng(1).integers(-128, 128, [3, 8]).astype(np.int8)
    (found,), plan = run_plan(proto, {"x": x})
    real = (x.astype(np.float32) + np.float32(7)) * np.float32(0.05)
    again = np.clip(np.rint(real / np.float32(0.031)), -133, 122) * np.float32(0.031)
    with np.errstate(all="ignore"):
        steps = np.clip(np.rint((real + getattr(np, op.lower())(again)) / np.float32(scale)), -128, 127)
    assert steps_of(found, np.nan_to_num(steps).astype(np.int8)).max() <= 1  # NaN: the zero point
    assert reason in {layer.reason for layer in int8.layers(plan)}


def test_the_entries_are_rounded_once(model_of) -> None:
    """float32 of the function in float64, for every byte."""
    net = Net()
    net.node("Exp", net.dq("x", 0.05, -7), output="y")
    plan = make_plan(load(model_of(net.nodes, [("x", I8, [256])], [("y", F, [256])], net.constants, opset=OPSET)))
    x = np.arange(-128, 128).astype(np.int8)
    real = (x.astype(np.float32) + np.float32(7)) * np.float32(0.05)
    np.testing.assert_array_equal(PythonExecutor(plan).run([x]).outputs[0], np.exp(real.astype(np.float64)).astype(np.float32))


def test_a_float_model_has_no_int8_entry(model_of) -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])])
    plan = make_plan(load(proto))
    assert int8.KEY not in plan.metadata and int8.summary(plan) == ""


def test_the_summary_counts() -> None:
    plan = make_plan(load(made(_used_twice)))
    found = int8.layers(plan)
    assert int8.summary(plan) == f"{sum(f.int8 for f in found)} of {len(found)} layers in int8" and len(found) >= 2
