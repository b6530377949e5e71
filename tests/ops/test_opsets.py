"""Operators whose form changed over the opsets, and attributes that the ONNX node tests do not vary: all against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

onnxruntime = pytest.importorskip("onnxruntime")

F = TensorProto.FLOAT
RNG = np.random.default_rng(17)
X4 = RNG.standard_normal((1, 4, 6, 5)).astype(np.float32)
X3 = RNG.standard_normal((2, 3, 8)).astype(np.float32)
X2 = RNG.standard_normal((3, 5)).astype(np.float32)
i64, f32 = np.int64, np.float32
KERNEL = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
UP = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)

# id → (opset, operator, attributes, x, further constant inputs, output shape)
CASES = {
    "squeeze_axes_attribute": (11, "Squeeze", {"axes": [0]}, X4, (), (4, 6, 5)),
    "squeeze_axes_input": (13, "Squeeze", {}, X4, (i64([0]),), (4, 6, 5)),
    "squeeze_all": (13, "Squeeze", {}, X4, (), (4, 6, 5)),
    "unsqueeze_axes_attribute": (11, "Unsqueeze", {"axes": [0, 3]}, X2, (), (1, 3, 5, 1)),
    "unsqueeze_axes_input": (13, "Unsqueeze", {}, X2, (i64([-1]),), (3, 5, 1)),
    "clip_attributes": (6 + 1, "Clip", {"min": -0.5, "max": 0.5}, X2, (), (3, 5)),
    "clip_inputs": (11, "Clip", {}, X2, (f32(-0.5), f32(0.5)), (3, 5)),
    "clip_lower_only": (13, "Clip", {}, X2, (f32(0),), (3, 5)),
    "clip_upper_only": (13, "Clip", {}, X2, (None, f32(0.25)), (3, 5)),
    "slice_attributes": (9, "Slice", {"starts": [1, -3], "ends": [3, 9999], "axes": [0, 1]}, X2, (), (2, 3)),
    "slice_inputs": (10, "Slice", {}, X2, (i64([0, 4]), i64([3, -9999]), i64([0, 1]), i64([2, -1])), (2, 5)),
    "slice_without_axes": (13, "Slice", {}, X2, (i64([1]), i64([3])), (2, 5)),
    "slice_backwards_to_an_inner_end": (13, "Slice", {}, X2, (i64([-1]), i64([0]), i64([1]), i64([-2])), (3, 2)),
    "slice_to_nothing": (13, "Slice", {}, X2, (i64([2]), i64([1]), i64([1])), (3, 0)),
    "pad_attributes": (2 + 5, "Pad", {"pads": [0, 1, 1, 0], "value": 2.0}, X2, (), (4, 6)),
    "pad_inputs": (11, "Pad", {}, X2, (i64([0, 1, 1, 0]), f32(2)), (4, 6)),
    "pad_axes": (18, "Pad", {}, X2, (i64([1, 2]), f32(0), i64([-1])), (3, 8)),
    "pad_reflect": (13, "Pad", {"mode": "reflect"}, X2, (i64([1, 2, 1, 2]),), (5, 9)),
    "pad_edge": (13, "Pad", {"mode": "edge"}, X2, (i64([1, 0, 0, 2]),), (4, 7)),
    "pad_wrap": (19, "Pad", {"mode": "wrap"}, X2, (i64([1, 0, 0, 2]),), (4, 7)),
    "pad_negative": (13, "Pad", {}, X2, (i64([-1, 1, 0, -2]),), (2, 4)),
    "upsample_attribute": (7, "Upsample", {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "nearest"}, X4, (), (1, 4, 12, 10)),
    "upsample_input": (9, "Upsample", {"mode": "nearest"}, X4, (f32([1, 1, 2, 3]),), (1, 4, 12, 15)),
    "resize_11_linear": (11, "Resize", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, X4,
                         (f32([]), f32([1, 1, 2, 3])), (1, 4, 12, 15)),
    "resize_sizes": (13, "Resize", {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, X4,
                     (None, None, i64([1, 4, 9, 10])), (1, 4, 9, 10)),
    "resize_axes": (18, "Resize", {"mode": "linear", "axes": [3, 2]}, X4, (None, f32([2.0, 0.5])), (1, 4, 3, 10)),
    "resize_not_larger": (18, "Resize", {"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, X4,
                          (None, None, i64([12, 12])), (1, 4, 12, 10)),
    "softmax_flattens": (11, "Softmax", {"axis": 1}, X4, (), (1, 4, 6, 5)),
    "softmax_default_axis_old": (9, "Softmax", {}, X3, (), (2, 3, 8)),
    "softmax_one_axis": (13, "Softmax", {"axis": 1}, X4, (), (1, 4, 6, 5)),
    "log_softmax_flattens": (11, "LogSoftmax", {"axis": 1}, X3, (), (2, 3, 8)),
    "reduce_sum_attribute": (11, "ReduceSum", {"axes": [1], "keepdims": 0}, X3, (), (2, 8)),
    "reduce_sum_input": (13, "ReduceSum", {"keepdims": 1}, X3, (i64([-1]),), (2, 3, 1)),
    "reduce_sum_of_nothing": (13, "ReduceSum", {"noop_with_empty_axes": 1}, X3, (i64([]),), (2, 3, 8)),
    "reduce_mean_attribute": (13, "ReduceMean", {"axes": [0, 2], "keepdims": 0}, X3, (), (3,)),
    "reduce_mean_input": (18, "ReduceMean", {}, X3, (i64([1]),), (2, 1, 8)),
    "reduce_max_all": (13, "ReduceMax", {"keepdims": 0}, X3, (), ()),
    "reduce_prod": (13, "ReduceProd", {"axes": [2]}, X3, (), (2, 3, 1)),
    "dropout_old": (7, "Dropout", {"ratio": 0.3}, X2, (), (3, 5)),
    "dropout_new": (13, "Dropout", {}, X2, (f32(0.3), np.array(False)), (3, 5)),
    "conv_same_upper": (11, "Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 2}, X4, (KERNEL,), (1, 4, 3, 3)),
    "conv_same_lower": (11, "Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2], "group": 2}, X4, (KERNEL,), (1, 4, 3, 3)),
    "conv_dilated": (11, "Conv", {"dilations": [2, 1], "group": 2, "pads": [2, 1, 0, 1]}, X4, (KERNEL,), (1, 4, 4, 5)),
    "conv_transpose_groups": (11, "ConvTranspose", {"group": 2, "strides": [2, 1], "output_padding": [1, 0]}, X4, (UP,), (1, 4, 14, 7)),
    "conv_transpose_output_shape": (11, "ConvTranspose", {"output_shape": [12, 5], "strides": [2, 1]}, X4, (UP,), (1, 2, 12, 5)),
    "conv_transpose_1d": (11, "ConvTranspose", {"strides": [2], "pads": [1, 0]}, X3, (UP[:3, :, 0],), (2, 2, 16)),
    "max_pool_ceil": (12, "MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}, X4, (), (1, 4, 3, 3)),
    "max_pool_1d_dilated": (12, "MaxPool", {"kernel_shape": [3], "dilations": [2]}, X3, (), (2, 3, 4)),
    "average_pool_includes_pad": (11, "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, X4, (),
                                  (1, 4, 6, 5)),
    "average_pool_excludes_pad": (11, "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, X4, (), (1, 4, 6, 5)),
    "gemm_all_attributes": (13, "Gemm", {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}, X2,
                            (RNG.standard_normal((4, 3)).astype(f32), RNG.standard_normal((5, 1)).astype(f32)), (5, 4)),
    "matmul_vector_right": (13, "MatMul", {}, X3, (RNG.standard_normal(8).astype(f32),), (2, 3)),
    "matmul_vector_left": (13, "MatMul", {}, X2[0], (RNG.standard_normal((2, 5, 4)).astype(f32),), (2, 4)),
    "pow_square": (13, "Pow", {}, X2, (f32(2),), (3, 5)),
    "pow_integer_exponent": (13, "Pow", {}, X2, (i64(3),), (3, 5)),
    "gather_negative": (13, "Gather", {"axis": 1}, X2, (i64([-1, 0]),), (3, 2)),
    "gather_scalar_is_a_slice": (13, "Gather", {"axis": 1}, X2, (i64(-2),), (3,)),
    "arg_max_last": (13, "ArgMax", {"axis": 1, "select_last_index": 1, "keepdims": 0}, np.round(X2), (), (3,)),
    "hard_sigmoid_defaults": (13, "HardSigmoid", {}, X2, (), (3, 5)),
    "prelu_channels": (13, "PRelu", {}, X4, (RNG.random((4, 1, 1)).astype(f32),), (1, 4, 6, 5)),
    "prelu_scalar": (13, "PRelu", {}, X4, (f32([0.3]),), (1, 4, 6, 5)),
    "mean_of_three": (13, "Mean", {}, X2, (X2[0], X2[:1]), (3, 5)),
    "layer_norm_last_two": (17, "LayerNormalization", {"axis": -2}, X3, (RNG.random((3, 8)).astype(f32), RNG.random((3, 8)).astype(f32)),
                            (2, 3, 8)),
    "expand": (13, "Expand", {}, X2[:, :1], (i64([2, 3, 4]),), (2, 3, 4)),
    "flatten_negative": (13, "Flatten", {"axis": -1}, X3, (), (6, 8)),
    "lrn_wider_than_the_channels": (13, "LRN", {"size": 11, "alpha": 0.5}, X4, (), (1, 4, 6, 5)),
    "lp_pool_same": (18, "LpPool", {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, X4, (), (1, 4, 3, 3)),
    "global_lp_pool_cubic": (13, "GlobalLpPool", {"p": 3}, X4, (), (1, 4, 1, 1)),
    "hardmax_flattens": (11, "Hardmax", {"axis": 1}, X3, (), (2, 3, 8)),
    "mean_variance_default": (13, "MeanVarianceNormalization", {}, X4, (), (1, 4, 6, 5)),
    "lp_normalization_absolute": (13, "LpNormalization", {"p": 1, "axis": 1}, X3, (), (2, 3, 8)),
    "cast_to_integers": (13, "Cast", {"to": TensorProto.INT32}, X2 * 3, (), (3, 5)),
}


def build(model_of, name: str):
    opset, op, attrs, x, rest, shape = CASES[name]
    names = [f"c{k}" if value is not None else "" for k, value in enumerate(rest)]
    kind = {"ArgMax": TensorProto.INT64, "Cast": TensorProto.INT32}.get(op, F)
    # x goes through Neg, so that nothing can be folded.
    nodes = [helper.make_node("Neg", ["x"], ["n"], "neg"), helper.make_node(op, ["n", *names], ["y"], name, **attrs)]
    constants = {n: value for n, value in zip(names, rest, strict=True) if n}
    return model_of(nodes, [("x", F, list(x.shape))], [("y", kind, list(shape))], constants, opset=opset)


def expected(model, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime as the oracle: unlike onnx.reference it keeps the old meanings of old opsets."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(model_of, run_plan, name: str) -> None:
    model = build(model_of, name)
    outputs, plan = run_plan(model, {"x": CASES[name][3]})
    assert plan.fallbacks == ()
    want = expected(model, CASES[name][3])
    assert outputs[0].shape == want.shape
    np.testing.assert_allclose(outputs[0], want, rtol=2e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
@pytest.mark.parametrize(("op", "attrs", "rest", "reason"), [
    ("Resize", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, (None, f32([1, 1, 2, 2])), "roi"),
    ("BatchNormalization", {"training_mode": 1}, tuple(f32([1, 1, 1, 1]) for _ in range(4)), "training mode"),
])
def test_a_form_without_a_kernel_says_why(model_of, op: str, attrs, rest, reason: str) -> None:
    from edgerun.importer import load
    from edgerun.planner import make_plan

    names = [f"c{k}" if value is not None else "" for k, value in enumerate(rest)]
    outputs = ["y", "rm", "rv"] if op == "BatchNormalization" else ["y"]
    model = model_of([helper.make_node(op, ["x", *names], outputs, "node", **attrs)], [("x", F, [1, 4, 6, 5])],
                     [("y", F, ["a", "b", "c", "d"])], {n: v for n, v in zip(names, rest, strict=True) if n}, opset=18)
    plan = make_plan(load(model))
    assert len(plan.fallbacks) == 1
    assert reason in plan.fallbacks[0][3]
