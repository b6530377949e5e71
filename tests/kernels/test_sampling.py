"""grid_sample, roi_align and resample: C++ and Python against onnx.reference or NumPy, and what lies outside, is no number, or huge."""

from __future__ import annotations

import time

import numpy as np
import pytest
from kernel_case import EPS, ISAS, close, each_isa, native, one, sample
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgerun_kernels.registry import KERNELS
from edgerun_kernels.types import BadIndex

MODES, PADDING = ("linear", "nearest", "cubic"), ("zeros", "border", "reflection")
each_executor = pytest.mark.parametrize("isa", [*ISAS, "python"])


def call(name, inputs, attrs, shape, isa, constants=()):
    if isa != "python":
        return one(name, inputs, attrs, shape, np.float32, isa, constants=list(constants))
    y = np.full(shape, 7, np.float32)
    KERNELS[name](inputs, attrs, [y], None)
    return y


def by_reference(op, inputs, opset=20, **attrs):
    """inputs: channels first. One output."""
    infos = [helper.make_tensor_value_info(f"x{k}", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for k, x in enumerate(inputs)]
    nodes = [helper.make_node(op, [i.name for i in infos], ["y"], **attrs)]
    graph = helper.make_graph(nodes, "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, {f"x{k}": x for k, x in enumerate(inputs)})[0]


def last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


@each_executor
@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shape", "out"), [((2, 3, 4, 5), (3, 2)), ((1, 2, 2, 3), (2, 2)), ((1, 2, 6), (7,)),
                                            ((2, 1, 3, 2, 4), (2, 1, 3))])
def test_grid_sample(isa, shape, out, mode, padding, align):
    x, axes = sample(shape, np.float32), len(out)
    grid = np.random.default_rng(3).uniform(-2.4, 2.4, (shape[0], *out, axes)).astype(np.float32)
    grid[0].reshape(-1)[:2] = -1, 1
    want = last(by_reference("GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=align))
    attrs = {"mode": (MODES.index(mode),), "padding": (PADDING.index(padding),), "align_corners": (align,)}
    got = call("grid_sample_f32", [last(x), grid], attrs, want.shape, isa)
    close(got, want, 64 * EPS * max(np.abs(x).max(), 1))


@each_executor
@pytest.mark.parametrize("mode", range(3))
@pytest.mark.parametrize("padding", range(3))
def test_places_that_are_no_numbers_or_far_away(isa, mode, padding):
    x = sample((1, 4, 4, 2), np.float32)
    grid = np.zeros((1, 1, 4, 2), np.float32)
    grid[0, 0, :, 0] = np.nan, np.inf, -np.inf, 1e30
    attrs = {"mode": (mode,), "padding": (padding,), "align_corners": (0,)}
    got = call("grid_sample_f32", [x, grid], attrs, (1, 1, 4, 2), isa)[0, 0]
    assert np.isnan(got[0]).all()
    if padding == 0:
        assert (got[1:] == 0).all()
    elif padding == 1:
        edges = call("grid_sample_f32", [x, np.float32([[[[1.5, 0], [-1.5, 0]]]])], attrs, (1, 1, 2, 2), isa)[0, 0]
        np.testing.assert_array_equal(got[[1, 2, 3]], edges[[0, 1, 0]])
    else:
        assert np.isnan(got[1:3]).all()
        assert np.isfinite(got[3]).all()


@each_executor
def test_an_axis_of_one_element_is_reflected_onto_itself(isa):
    """onnx.reference divides by 0 here."""
    attrs = {"mode": (0,), "padding": (2,), "align_corners": (1,)}
    x, grid = np.float32([[[[3], [5]]]]), np.float32([[[[-1, 7], [1, -4]]]])
    np.testing.assert_array_equal(call("grid_sample_f32", [x, grid], attrs, (1, 1, 2, 1), isa).reshape(-1), [3, 5])


@each_executor
def test_a_neighbour_without_weight_has_no_say(isa):
    x = np.float32([1, np.inf, 3, np.nan]).reshape(1, 1, 4, 1)
    grid = np.float32([[[[-1, 0], [1 / 3, 0]]]])
    attrs = {"mode": (0,), "padding": (0,), "align_corners": (1,)}
    np.testing.assert_allclose(call("grid_sample_f32", [x, grid], attrs, (1, 1, 2, 1), isa).reshape(-1), [1, 3], rtol=1e-6)


@each_isa
@pytest.mark.parametrize(("attrs", "grid", "out", "reason"), [
    ({"mode": (3,)}, (1, 2, 2, 2), (1, 2, 2, 2), "bad_attribute"),
    ({"padding": (-1,)}, (1, 2, 2, 2), (1, 2, 2, 2), "bad_attribute"),
    ({"align_corners": (2,)}, (1, 2, 2, 2), (1, 2, 2, 2), "bad_attribute"),
    ({}, (1, 2, 2, 3), (1, 2, 2, 2), "bad_shape"),
    ({}, (2, 2, 2, 2), (2, 2, 2, 2), "bad_shape"),
    ({}, (1, 2, 2, 2), (1, 2, 3, 2), "bad_shape"),
    ({}, (1, 2, 2), (1, 2, 2, 2), "bad_rank"),
])
def test_grid_sample_refuses_what_does_not_fit(isa, attrs, grid, out, reason):
    attrs = {"mode": (0,), "padding": (0,), "align_corners": (0,)} | attrs
    with pytest.raises(ValueError, match=reason):
        native.call("grid_sample_f32", [np.zeros((1, 3, 3, 2), np.float32), np.zeros(grid, np.float32)], attrs, [np.zeros(out, np.float32)],
                    isa=isa)


ROIS = np.float32([[0, 0, 3, 3], [1.3, 0.7, 2.2, 4.9], [-3, -2, 9, 12], [4, 4, 4, 4], [5, 5, 2, 1], [20, 20, 30, 30]])


@each_executor
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_roi_align(isa, mode, ratio, half, scale):
    x = sample((2, 3, 6, 5), np.float32)
    batch = np.int64([0, 1, 0, 1, 1, 0])
    way = "half_pixel" if half else "output_half_pixel"
    want = last(by_reference("RoiAlign", [x, ROIS, batch], mode=mode, output_height=2, output_width=3, sampling_ratio=ratio,
                             spatial_scale=scale, coordinate_transformation_mode=way))
    attrs = {"mode": (int(mode == "max"),), "half_pixel": (half,), "sampling_ratio": (ratio,), "spatial_scale": (scale,)}
    got = call("roi_align_f32", [last(x), ROIS, batch], attrs, want.shape, isa)
    close(got, want, 64 * EPS * np.abs(x).max())


ALIGN = {"mode": (0,), "half_pixel": (1,), "sampling_ratio": (0,), "spatial_scale": (1.0,)}


@each_executor
@pytest.mark.parametrize("mode", [0, 1])
def test_regions_that_are_no_numbers_or_huge(isa, mode):
    x = np.ones((1, 4, 4, 2), np.float32)
    rois = np.float32([[np.nan, 0, 1, 1], [0, 0, np.inf, 1], [-1e30, -1e30, 1e30, 1e30], [-3e38, 0, 3e38, 1], [0, 0, 4e6, 4e6],
                       [0, 0, 4, 4]])
    begin = time.perf_counter()
    got = call("roi_align_f32", [x, rois, np.zeros(len(rois), np.int64)], {**ALIGN, "mode": (mode,)}, (len(rois), 1, 1, 2), isa)
    assert time.perf_counter() - begin < 5
    assert np.isnan(got[[0, 1, 3]]).all()
    assert np.isfinite(got[[2, 4]]).all()
    assert (np.abs(got[[2, 4]]) <= 1).all()
    np.testing.assert_allclose(got[5], 1)


@each_isa
def test_a_batch_index_out_of_range_is_reported_and_not_followed(isa):
    x, rois = np.ones((2, 3, 3, 1), np.float32), np.float32([[0, 0, 2, 2]])
    y = np.full((1, 1, 1, 1), 7, np.float32)
    seen = native.call("roi_align_f32", [x, rois, np.int64([2])], ALIGN, [y], isa=isa)
    assert seen["bad_index"] == (0, 2, 2)
    assert y == 0


def test_python_raises_for_a_batch_index_out_of_range():
    with pytest.raises(BadIndex):
        KERNELS["roi_align_f32"]([np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 4), np.float32), np.int64([1])], ALIGN,
                                 [np.zeros((1, 1, 1, 1), np.float32)], None)


@each_isa
@pytest.mark.parametrize(("attrs", "reason"), [({"sampling_ratio": (-1,)}, "bad_attribute"), ({"sampling_ratio": (5000,)}, "unsupported"),
                                               ({"spatial_scale": (float("nan"),)}, "bad_attribute"), ({"mode": (2,)}, "bad_attribute")])
def test_roi_align_refuses_what_does_not_fit(isa, attrs, reason):
    with pytest.raises(ValueError, match=reason):
        native.call("roi_align_f32", [np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 4), np.float32), np.int64([0])], ALIGN | attrs,
                    [np.zeros((1, 1, 1, 1), np.float32)], isa=isa)


@each_executor
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((2, 5, 3), 1), ((2, 5, 33), -2), ((4, 3, 5), 2), ((0, 5), 1), ((5, 0), 0)])
@pytest.mark.parametrize("m", [0, 1, 7])
def test_resample(isa, shape, axis, m):
    rng = np.random.default_rng(1)
    x, index, weight = sample(shape, np.float32), rng.integers(0, 5, (m, 4)), rng.standard_normal((m, 4)).astype(np.float32)
    matrix = np.zeros((m, 5))
    for o in range(m):
        np.add.at(matrix[o], index[o], weight[o])
    want = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    got = call("resample_f32", [x, index, weight], {"axis": (axis,)}, want.shape, isa, constants=(1, 2))
    close(got, want, 16 * EPS * max(np.abs(x).max(initial=0), 1) * 4)


@each_isa
@pytest.mark.parametrize(("index", "constants", "reason"), [(5, [1, 2], "bad_index"), (-1, [1, 2], "bad_index"), (0, [2], "not_constant")])
def test_resample_wants_a_table_that_fits(isa, index, constants, reason):
    with pytest.raises(ValueError, match=reason):
        native.call("resample_f32", [np.zeros(5, np.float32), np.full((3, 1), index), np.ones((3, 1), np.float32)], {"axis": (0,)},
                    [np.zeros(3, np.float32)], isa=isa, constants=constants)
