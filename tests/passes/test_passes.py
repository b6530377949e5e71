"""What each pass does to a small graph, and that no pass changes an answer."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgerun.importer import load
from edgerun.passes import PASSES, run

F = TensorProto.FLOAT
RNG = np.random.default_rng(3)
node = helper.make_node


def weights(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) * 0.5).astype(np.float32)


def conv(x: str, y: str, w: str, *more: str, **attrs):
    return node("Conv", [x, w, *more], [y], **{"pads": [1, 1, 1, 1], **attrs})


IMAGE = [("x", F, [1, 3, 6, 8])]
W = {"w": weights(4, 3, 3, 3), "b": weights(4)}
NORM = {"s": weights(4), "t": weights(4), "m": weights(4), "v": np.abs(weights(4)) + 0.5}

# name → (nodes, inputs, outputs, constants, kernels of the plan)
CASES = {
    "conv_bn_relu": (
        [conv("x", "c", "w", "b"), node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]), node("Relu", ["n"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8])], W | NORM, ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "conv_mul_add": (
        [conv("x", "c", "w"), node("Mul", ["c", "k"], ["k1"]), node("Add", ["one", "k1"], ["a"]), node("Clip", ["a", "lo", "hi"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8])],
        W | {"k": weights(4, 1, 1), "one": np.float32([1.0]), "lo": np.float32(0), "hi": np.float32(6)},
        ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "conv_transpose_bn": (
        [node("ConvTranspose", ["x", "u"], ["c"], strides=[2, 2], group=1), node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
         node("GlobalAveragePool", ["n"], ["y"])],
        IMAGE, [("y", F, [1, 4, 1, 1])], {"u": weights(3, 4, 2, 2)} | NORM,
        ["transpose_x32", "conv_transpose2d_f32", "global_average_pool_f32"]),
    "pad_conv": (
        [node("Pad", ["x", "p"], ["q"]), conv("q", "y", "w", pads=[0, 0, 0, 0])],
        IMAGE, [("y", F, [1, 4, 7, 9])], W | {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1])}, ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "pad_relu_max_pool": (
        [conv("x", "c", "w"), node("Relu", ["c"], ["r"]), node("Pad", ["r", "p"], ["q"]),
         node("MaxPool", ["q"], ["y"], kernel_shape=[3, 3], strides=[2, 2])],
        IMAGE, [("y", F, [1, 4, 3, 4])], W | {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
        ["transpose_x32", "conv2d_f32", "max_pool2d_f32", "transpose_x32"]),
    "max_pool_relu": (
        [conv("x", "c", "w"), node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), node("Relu", ["p"], ["y"])],
        IMAGE, [("y", F, [1, 4, 3, 4])], W, ["transpose_x32", "conv2d_f32", "max_pool2d_f32", "transpose_x32"]),
    "residual": (
        [conv("x", "c", "w"), node("Relu", ["c"], ["r"]), conv("r", "d", "w2"), node("Add", ["r", "d"], ["a"]), node("Relu", ["a"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8])], W | {"w2": weights(4, 4, 3, 3)},
        ["transpose_x32", "conv2d_f32", "conv2d_f32", "transpose_x32"]),
    "residual_then_bias": (
        [node("MatMul", ["a", "k"], ["m"]), node("Add", ["m", "r"], ["s1"]), node("Add", ["s1", "h"], ["y"])],
        [("a", F, [2, 5]), ("r", F, [2, 4])], [("y", F, [2, 4])], {"k": weights(5, 4), "h": weights(4)}, ["matmul_f32"]),
    "silu": (
        [conv("x", "c", "w"), node("Sigmoid", ["c"], ["s1"]), node("Mul", ["c", "s1"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8])], W, ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "hard_swish": (
        [node("Add", ["x", "three"], ["a"]), node("Clip", ["a", "lo", "hi"], ["c"]), node("Mul", ["x", "c"], ["m"]),
         node("Div", ["m", "six"], ["y"])],
        [("x", F, [2, 5])], [("y", F, [2, 5])],
        {"three": np.float32(3), "six": np.float32(6), "lo": np.float32(0), "hi": np.float32(6)}, ["hard_swish_f32"]),
    "gelu_erf": (
        [node("Div", ["x", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["a"]), node("Mul", ["x", "a"], ["m"]),
         node("Mul", ["m", "half"], ["y"])],
        [("x", F, [2, 5])], [("y", F, [2, 5])],
        {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}, ["gelu_f32"]),
    "gelu_tanh": (
        [node("Pow", ["x", "p3"], ["q"]), node("Mul", ["q", "k"], ["q1"]), node("Add", ["x", "q1"], ["q2"]),
         node("Mul", ["q2", "c"], ["q3"]),
         node("Tanh", ["q3"], ["t"]), node("Add", ["t", "one"], ["a"]), node("Mul", ["x", "half"], ["h"]), node("Mul", ["h", "a"], ["y"])],
        [("x", F, [2, 5])], [("y", F, [2, 5])],
        {"p3": np.float32(3), "k": np.float32(0.044715), "c": np.float32(0.7978845608), "one": np.float32(1), "half": np.float32(0.5)},
        ["gelu_f32"]),
    "channels_last_model": (
        [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), conv("t", "c", "w"), node("Relu", ["c"], ["r"]),
         node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1])],
        [("x", F, [1, 6, 8, 3])], [("y", F, [1, 6, 8, 4])], W, ["conv2d_f32"]),
    "one_channel_needs_no_transpose": (
        [conv("x", "c", "w1"), node("Flatten", ["c"], ["f"]), node("Gemm", ["f", "g", "b"], ["y"], transB=1)],
        [("x", F, [1, 1, 4, 4])], [("y", F, [1, 4])], {"w1": weights(2, 1, 3, 3), "g": weights(4, 32), "b": weights(4)},
        ["conv2d_f32", "matmul_f32"]),
    "squeeze_and_excite": (
        [conv("x", "c", "w"), node("GlobalAveragePool", ["c"], ["g"]), conv("g", "h", "w1", pads=[0, 0, 0, 0]),
         node("Sigmoid", ["h"], ["s1"]),
         node("Mul", ["c", "s1"], ["m"]), node("ReduceMean", ["m"], ["y"], axes=[2, 3], keepdims=0)],
        IMAGE, [("y", F, [1, 4])], W | {"w1": weights(4, 4, 1, 1)},
        ["transpose_x32", "conv2d_f32", "global_average_pool_f32", "conv2d_f32", "mul_f32", "global_average_pool_f32"]),
    "concat_split_slice_pad_resize": (
        [conv("x", "c", "w"), conv("x", "d", "w"), node("Concat", ["c", "d"], ["cd"], axis=1), node("Split", ["cd"], ["p", "q"], axis=1),
         node("Slice", ["p", "st", "en", "ax"], ["p1"]), node("Resize", ["p1", "", "sc"], ["p2"], mode="nearest"),
         node("Pad", ["p2", "pd"], ["p3"], mode="reflect"), node("Softmax", ["p3"], ["p4"], axis=1), conv("p4", "o", "w2"),
         node("ReduceMax", ["o"], ["y"], axes=[1, 3], keepdims=0), node("ArgMax", ["q"], ["z"], axis=1)],
        IMAGE, [("y", F, [1, 10]), ("z", TensorProto.INT64, [1, 1, 6, 8])],
        W | {"w2": weights(2, 4, 3, 3), "st": np.array([1]), "en": np.array([5]), "ax": np.array([2]),
             "sc": np.float32([1, 1, 2, 1]), "pd": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, None),
    "pixel_shuffle": (
        [conv("x", "c", "w"), node("Reshape", ["c", "s1"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 1, 4, 2, 5, 3]),
         node("Reshape", ["t", "s2"], ["y"])],
        IMAGE, [("y", F, [1, 1, 12, 16])], W | {"s1": np.array([1, 1, 2, 2, 6, 8]), "s2": np.array([1, 1, 12, 16])},
        ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "attention": (
        [node("Transpose", ["x"], ["q"], perm=[0, 2, 1, 3]), node("Transpose", ["x"], ["k"], perm=[0, 2, 3, 1]),
         node("MatMul", ["q", "k"], ["m"]),
         node("Mul", ["m", "scale"], ["d"]), node("Softmax", ["d"], ["s1"], axis=-1), node("MatMul", ["s1", "q"], ["o"]),
         node("Transpose", ["o"], ["p"], perm=[0, 2, 1, 3]), node("Reshape", ["p", "sh"], ["y"])],
        [("x", F, [1, 5, 2, 4])], [("y", F, [1, 5, 8])], {"scale": np.float32(0.5), "sh": np.array([1, 5, 8])},
        ["transpose_x32", "matmul_f32", "softmax_f32", "matmul_f32", "transpose_x32"]),
    "conv_1d": (
        [node("Conv", ["x", "w3", "b"], ["c"], pads=[1, 1], strides=[2]), node("Relu", ["c"], ["r"]),
         node("MaxPool", ["r"], ["y"], kernel_shape=[2])],
        [("x", F, [1, 3, 9])], [("y", F, [1, 4, 4])], {"w3": weights(4, 3, 3), "b": weights(4)},
        ["transpose_x32", "conv2d_f32", "max_pool2d_f32", "transpose_x32"]),
    "depthwise": (
        [node("Conv", ["x", "w4"], ["c"], group=3, pads=[1, 1, 1, 1]), node("LeakyRelu", ["c"], ["y"], alpha=0.1)],
        IMAGE, [("y", F, [1, 6, 6, 8])], {"w4": weights(6, 1, 3, 3)}, ["transpose_x32", "conv2d_dw_f32", "transpose_x32"]),
    "shared_result_is_not_fused": (
        [conv("x", "c", "w"), node("Relu", ["c"], ["y"]), node("Neg", ["c"], ["z"])],
        IMAGE, [("y", F, [1, 4, 6, 8]), ("z", F, [1, 4, 6, 8])], W,
        ["transpose_x32", "conv2d_f32", "relu_f32", "transpose_x32", "neg_f32", "transpose_x32"]),
    "result_that_is_an_output_is_not_fused": (
        [conv("x", "c", "w"), node("Relu", ["c"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8]), ("c", F, [1, 4, 6, 8])], W, None),
    "broadcast_addend_is_no_residual": (
        [conv("x", "c", "w"), node("GlobalAveragePool", ["c"], ["g"]), conv("x", "d", "w"), node("Add", ["d", "g"], ["y"])],
        IMAGE, [("y", F, [1, 4, 6, 8])], W, None),
    "input_as_residual": (
        [conv("x", "c", "w5"), node("Add", ["c", "x"], ["y"])],
        IMAGE, [("y", F, [1, 3, 6, 8])], {"w5": weights(3, 3, 3, 3)}, ["transpose_x32", "conv2d_f32", "transpose_x32"]),
    "focus": (
        [node("Slice", ["x", "i0", "end", "ax2", "step"], ["r0"]), node("Slice", ["x", "i1", "end", "ax2", "step"], ["r1"]),
         node("Slice", ["r0", "i0", "end", "ax3", "step"], ["p00"]), node("Slice", ["r1", "i0", "end", "ax3", "step"], ["p10"]),
         node("Slice", ["r0", "i1", "end", "ax3", "step"], ["p01"]), node("Slice", ["r1", "i1", "end", "ax3", "step"], ["p11"]),
         node("Concat", ["p00", "p10", "p01", "p11"], ["f"], axis=1), conv("f", "c", "w6"), node("GlobalAveragePool", ["c"], ["y"])],
        IMAGE, [("y", F, [1, 4, 1, 1])],
        {"w6": weights(4, 12, 3, 3), "i0": np.array([0]), "i1": np.array([1]), "end": np.array([9999]), "step": np.array([2]),
         "ax2": np.array([2]), "ax3": np.array([3])}, ["transpose_x32", "conv2d_f32", "global_average_pool_f32"]),
    "pyramid_pooling": (
        [conv("x", "c", "w"), node("MaxPool", ["c"], ["p3"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
         node("MaxPool", ["c"], ["p5"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
         node("MaxPool", ["c"], ["p9"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]), node("Concat", ["c", "p3", "p5", "p9"], ["y"], axis=1)],
        IMAGE, [("y", F, [1, 16, 6, 8])], W, None),
    "average_pool_over_all": (
        [conv("x", "c", "w"), node("AveragePool", ["c"], ["p"], kernel_shape=[6, 8]), node("Flatten", ["p"], ["y"])],
        IMAGE, [("y", F, [1, 4])], W, ["transpose_x32", "conv2d_f32", "global_average_pool_f32"]),
}


def build(model_of, name: str, opset: int = 17):
    nodes, inputs, outputs, constants, _ = CASES[name]
    used = {i for n in nodes for i in n.input}
    return model_of(nodes, inputs, outputs, {k: v for k, v in constants.items() if k in used}, opset=opset)


def feeds_of(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    return {n: rng.standard_normal(shape).astype(np.float32) for n, _, shape in CASES[name][1]}


def assert_close(found, expected) -> None:
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        np.testing.assert_allclose(f, e, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][4] is not None])
def test_kernels(model_of, run_plan, name: str) -> None:
    _, plan = run_plan(build(model_of, name), feeds_of(name))
    assert [s.kernel for s in plan.steps] == CASES[name][4]


@pytest.mark.parametrize("name", CASES)
def test_answers_with_all_passes(model_of, run_plan, name: str) -> None:
    model = build(model_of, name)
    outputs, _ = run_plan(model, feeds_of(name))
    assert_close(outputs, ReferenceEvaluator(model).run(None, feeds_of(name)))


@pytest.mark.parametrize("name", CASES)
def test_answers_without_passes(model_of, run_plan, name: str) -> None:
    model = build(model_of, name)
    outputs, _ = run_plan(model, feeds_of(name), optimize=False)
    assert_close(outputs, ReferenceEvaluator(model).run(None, feeds_of(name)))


@pytest.mark.parametrize("off", [name for name, _ in PASSES])
@pytest.mark.parametrize("name", CASES)
def test_answers_with_one_pass_off(model_of, run_plan, name: str, off: str) -> None:
    model = build(model_of, name)
    outputs, _ = run_plan(model, feeds_of(name), without=(off,))
    assert_close(outputs, ReferenceEvaluator(model).run(None, feeds_of(name)))


def test_pyramid_pooling_reads_small_windows_only(model_of, run_plan) -> None:
    _, plan = run_plan(build(model_of, "pyramid_pooling"), feeds_of("pyramid_pooling"))
    assert [s.attrs["kernel"] for s in plan.steps if s.kernel == "max_pool2d_f32"] == [(3, 3), (3, 3), (5, 5)]


@pytest.mark.parametrize(("name", "which"), [
    ("pyramid_pooling", "pools"), ("focus", "slices"),
    ("conv_bn_relu", "affine"), ("pad_conv", "padding"), ("residual", "residual"), ("silu", "patterns"), ("conv_bn_relu", "activation"),
    ("max_pool_relu", "hoist"), ("channels_last_model", "layout"), ("residual_then_bias", "residual_bias"),
])
def test_a_pass_counts_what_it_changes(model_of, name: str, which: str) -> None:
    assert run(load(build(model_of, name)).model)[which] >= 1


@pytest.mark.parametrize("which", [name for name, _ in PASSES])
@pytest.mark.parametrize("name", CASES)
def test_a_pass_finds_nothing_the_second_time(model_of, name: str, which: str) -> None:
    model = load(build(model_of, name)).model
    run(model)
    assert dict(PASSES)[which](model) == 0
