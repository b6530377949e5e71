"""Forms of Resize that weights known ahead of time serve, on kernels alone, against onnx.reference.

half_pixel_symmetric is compared with ONNX Runtime: where a position is an integer but for its last bit, onnx.reference (1.23.2) takes the
weights for one window of elements and the elements of the next."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import edgerun

SHAPE = (1, 2, 7, 6)
SCALES = {"up": (1, 1, 2, 1.5), "down": (1, 1, 0.4, 0.6), "both": (1, 1, 0.5, 2.3), "rows": (1, 1, 3, 1)}
COORDS = ("half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "pytorch_half_pixel")
X = np.random.default_rng(4).standard_normal(SHAPE).astype(np.float32)


def agree(constants, executor, peer="reference", **attrs):
    names = ["x", *(f"c{k}" if k in constants else "" for k in range(1, 1 + max(constants)))]
    given, made = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in (("x", SHAPE), ("y", [1, 2, "h", "w"])))
    graph = helper.make_graph([helper.make_node("Resize", names, ["y"], **attrs)], "g", given, made,
                              [numpy_helper.from_array(v, f"c{k}") for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    with edgerun.Session(model.SerializeToString(), executor=executor, strict=True) as session:
        assert {s.kernel for s in session.plan.steps} & {"resample_f32"}
        got = session.run(X).outputs["y"]
    if peer == "reference":
        want = ReferenceEvaluator(model).run(None, {"x": X})[0]
    else:
        want = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("executor", ["auto", "python"])
@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coord", COORDS)
@pytest.mark.parametrize(("mode", "attrs"), [
    ("cubic", {}), ("cubic", {"cubic_coeff_a": -0.5, "exclude_outside": 1}), ("cubic", {"antialias": 1}), ("linear", {"antialias": 1}),
    ("linear", {"antialias": 1, "exclude_outside": 1}),
])
def test_resize(executor, scales, coord, mode, attrs):
    peer = "onnxruntime" if coord == "half_pixel_symmetric" else "reference"
    agree({2: np.float32(SCALES[scales])}, executor, peer, mode=mode, coordinate_transformation_mode=coord, **attrs)


@pytest.mark.parametrize("executor", ["auto", "python"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("roi", [(0, 0, 0.2, 0.1, 1, 1, 0.8, 0.9), (0, 0, -0.3, 0.4, 1, 1, 1.2, 0.6), (0, 0, 0.9, 0.9, 1, 1, 0.1, 0.1)])
def test_crop_and_resize(executor, mode, roi):
    agree({1: np.float32(roi), 3: np.int64([1, 2, 5, 4])}, executor, mode=mode, coordinate_transformation_mode="tf_crop_and_resize",
          extrapolation_value=9.5)


@pytest.mark.parametrize("executor", ["auto", "python"])
def test_nearest_crop(executor):
    agree({1: np.float32([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7]), 3: np.int64([1, 2, 3, 4])}, executor, mode="nearest", nearest_mode="floor",
          coordinate_transformation_mode="tf_crop_and_resize")
