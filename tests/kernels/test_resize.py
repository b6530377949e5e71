"""resize_nearest and resize_linear against onnx.reference, for every coordinate mode and rounding rule."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from kernel_case import EPS, SIZES, close, each_isa, one, sample
from onnx.reference import ReferenceEvaluator


def cases(*rows):
    return [pytest.param(*c, id=str(c).replace(" ", "")) for c in rows]


each_size = pytest.mark.parametrize("size", SIZES)

COORDS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def reference_resize(x, scales, sizes, **attributes):
    """What onnx.reference says, for scales or for sizes."""
    feeds = {"x": x}
    if sizes is None:
        feeds["scales"] = np.asarray(scales, np.float32)
    else:
        feeds["sizes"] = np.asarray(sizes, np.int64)
    inputs = ["x", "", "scales"] if sizes is None else ["x", "", "", "sizes"]
    node = onnx.helper.make_node("Resize", inputs, ["y"], **attributes)
    infos = [
        onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    out = onnx.helper.make_tensor_value_info("y", onnx.helper.np_dtype_to_tensor_dtype(x.dtype), None)
    graph = onnx.helper.make_graph([node], "resize", infos, [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, feeds)[0]


RESIZE_CASES = cases(
    ((1, 4, 4, 3), (1, 2.0, 2.0, 1), None),
    ((1, 8, 5, 3), (1, 0.625, 0.75, 1), None),
    ((2, 2, 4), (1, 1, 2.5), None),
    ((1, 1, 5, 5), None, (1, 1, 7, 3)),
    ((1, 7, 6, 8), None, (1, 3, 9, 8)),
    ((4,), None, (1,)),
    ((1, 3, 3, 2), None, (1, 1, 1, 2)),
    ((2, 3, 4), None, (5, 3, 3)),
    ((1, 2, 2, 1), (1, 3.0, 3.0, 1), None),
    ((3, 4), (1.0, 1.0), None),
    ((5, 6), None, (10, 12)),
)


@each_isa
@pytest.mark.parametrize("coord", COORDS)
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize(("shape", "scales", "sizes"), RESIZE_CASES)
def test_resize_nearest(isa, coord, nearest, shape, scales, sizes):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    want = reference_resize(
        x, scales, sizes, mode="nearest", coordinate_transformation_mode=coord, nearest_mode=nearest
    )
    factors = tuple(float(s) for s in (scales or [m / n for m, n in zip(sizes, shape, strict=True)]))
    attrs = {"scales": factors, "coord": (COORDS.index(coord),), "nearest": (NEAREST.index(nearest),)}
    np.testing.assert_array_equal(one("resize_nearest_x32", [x], attrs, want.shape, x.dtype, isa), want)


@each_isa
@each_size
def test_resize_nearest_of_every_size(isa, size):
    x = sample((2, 3, 4, 5), SIZES[size])
    got = one(
        f"resize_nearest_{size}",
        [x],
        {"scales": (1.0, 2.0, 2.0, 1.0), "coord": (3,), "nearest": (2,)},
        (2, 6, 8, 5),
        x.dtype,
        isa,
    )
    np.testing.assert_array_equal(got, x.repeat(2, axis=1).repeat(2, axis=2))


@each_isa
@pytest.mark.parametrize("coord", COORDS)
@pytest.mark.parametrize(("shape", "scales", "sizes"), RESIZE_CASES)
def test_resize_linear(isa, coord, shape, scales, sizes):
    x = sample(shape, np.float32)
    want = reference_resize(x, scales, sizes, mode="linear", coordinate_transformation_mode=coord)
    factors = tuple(float(s) for s in (scales or [m / n for m, n in zip(sizes, shape, strict=True)]))
    got = one("resize_linear_f32", [x], {"scales": factors, "coord": (COORDS.index(coord),)}, want.shape, x.dtype, isa)
    close(got, want, 32 * EPS * np.abs(x).max())


@each_isa
def test_resize_linear_keeps_infinities_out_of_their_neighbours(isa):
    x = np.array([[1, np.inf, 3, np.nan, 5]], np.float32)
    got = one("resize_linear_f32", [x], {"scales": (1.0, 2.0), "coord": (3,)}, (1, 10), np.float32, isa)
    np.testing.assert_array_equal(got[0, [0, 2, 4, 6, 8, 9]], [1, np.inf, 3, np.nan, 5, 5])
