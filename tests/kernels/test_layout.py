"""Kernels that move bits: exact, against NumPy and onnx.reference, for every element size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from kernel_case import EPS, ISAS, LENGTHS, SIZES, call, close, each_isa, native, one, sample
from onnx.reference import ReferenceEvaluator

each_size = pytest.mark.parametrize("size", SIZES)


def strides_of(*cases):
    return [pytest.param(*c, id=str(c).replace(" ", "")) for c in cases]


@each_isa
@each_size
@pytest.mark.parametrize(("shape", "perm"), strides_of(
    ((), ()), ((7,), (0,)), ((3, 5), (1, 0)), ((33, 65), (1, 0)), ((64, 128), (1, 0)), ((130, 67), (1, 0)), ((0, 4), (1, 0)),
    ((1, 3, 9, 7), (0, 2, 3, 1)), ((2, 9, 7, 3), (0, 3, 1, 2)), ((2, 16, 9, 31), (0, 2, 3, 1)), ((2, 9, 31, 16), (0, 3, 1, 2)),
    ((2, 3, 4, 5), (3, 2, 1, 0)), ((2, 3, 4, 5), (0, 2, 1, 3)), ((2, 3, 4, 5), (1, 0, 3, 2)), ((4, 1, 5, 1), (2, 3, 0, 1)),
    ((2, 2, 2, 2, 2, 2, 2, 3), (7, 1, 5, 3, 6, 0, 4, 2)), ((5, 2, 1500), (2, 0, 1)), ((1500, 2), (1, 0)), ((2, 1500), (1, 0)),
    ((4, 1030), (1, 0)), ((1030, 4), (1, 0)), ((6, 2, 37), (0, 2, 1)), ((3, 11, 5, 4), (2, 1, 0, 3)),
))
def test_transpose(isa, size, shape, perm):
    x = sample(shape, SIZES[size])
    want = np.transpose(x, perm)
    np.testing.assert_array_equal(one(f"transpose_{size}", [x], {"perm": perm}, want.shape, x.dtype, isa), want)


@each_isa
@each_size
@pytest.mark.parametrize(("shapes", "axis"), strides_of(
    (((3,),), 0), (((3,), (0,), (5,)), 0), (((2, 3), (2, 4)), 1), (((2, 3), (2, 4)), -1), (((5, 4, 16), (5, 4, 32)), 2),
    (((1, 8, 8, 7), (1, 8, 8, 9), (1, 8, 8, 64)), 3), (((2, 3), (4, 3)), 0), (((0, 2), (0, 3)), 1),
))
def test_concat_and_split(isa, size, shapes, axis):
    parts = [sample(s, SIZES[size], k) for k, s in enumerate(shapes)]
    whole = np.concatenate(parts, axis)
    np.testing.assert_array_equal(one(f"concat_{size}", parts, {"axis": (axis,)}, whole.shape, whole.dtype, isa), whole)
    back, _ = call(f"split_{size}", [whole], {"axis": (axis,)}, shapes, whole.dtype, isa)
    for part, got in zip(parts, back, strict=True):
        np.testing.assert_array_equal(got, part)


@each_isa
@each_size
@pytest.mark.parametrize(("shape", "key"), strides_of(
    ((9,), (slice(2, 7, 1),)), ((9,), (slice(8, None, -1),)), ((9,), (slice(7, 0, -3),)), ((9,), (slice(3, 3, 1),)),
    ((4, 6, 5), (slice(1, 3, 1), slice(0, 6, 2), slice(0, 5, 1))), ((4, 6, 5), (slice(0, 4, 1), slice(0, 6, 1), slice(4, None, -1))),
    ((4, 6, 5), (slice(0, 4, 1), slice(2, 3, 1), slice(0, 5, 1))), ((2, 3, 4100), (slice(0, 2, 1), slice(0, 3, 2), slice(5, 4099, 1))),
    ((2, 0, 3), (slice(0, 2, 1), slice(0, 0, 1), slice(1, 3, 1))), ((1, 1), (slice(0, 1, 1), slice(0, 1, 1))),
))
def test_slice(isa, size, shape, key):
    x = sample(shape, SIZES[size])
    want = x[key]
    attrs = {"starts": tuple(min(k.start, max(n - 1, 0)) for k, n in zip(key, shape, strict=True)), "steps": tuple(k.step for k in key)}
    np.testing.assert_array_equal(one(f"slice_{size}", [x], attrs, want.shape, x.dtype, isa), want)


@each_isa
@each_size
@pytest.mark.parametrize("kind", [np.int64, np.int32])
@pytest.mark.parametrize(("shape", "indices", "axis"), strides_of(
    ((5,), 3, 0), ((5,), [[0, 4], [-1, -5]], 0), ((5, 3), [4, 0, -1], 0), ((5, 7, 16), [6, 0, -7, 2], 1), ((5, 7, 3), [1, 2], -1),
    ((5, 4), [], 0), ((2, 3, 4), [[1], [0]], 1),
))
def test_gather(isa, size, kind, shape, indices, axis):
    x, indices = sample(shape, SIZES[size]), np.asarray(indices, kind)
    want = np.take(x, indices, axis=axis)
    np.testing.assert_array_equal(one(f"gather_{size}", [x, indices], {"axis": (axis,)}, want.shape, x.dtype, isa), want)


@each_isa
@each_size
def test_gather_out_of_range_gives_zeros(isa, size):
    x = sample((2, 5, 3), SIZES[size])
    indices = np.array([1, 5, -6, 2**62, -(2**62), 4], np.int64)
    got = one(f"gather_{size}", [x, indices], {"axis": (1,)}, (2, 6, 3), x.dtype, isa)
    want = np.zeros((2, 6, 3), x.dtype)
    want[:, 0], want[:, 5] = x[:, 1], x[:, 4]
    np.testing.assert_array_equal(got, want)


@each_isa
@each_size
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize(("shape", "pads"), strides_of(
    ((5,), ((2, 3),)), ((4, 6), ((0, 0), (3, 1))), ((4, 6), ((1, 2), (0, 0))), ((2, 5, 4, 3), ((0, 0), (1, 2), (3, 1), (0, 0))),
    ((3, 4), ((-1, 2), (1, -2))), ((3, 4), ((0, 0), (0, 0))), ((3, 40), ((7, 7), (100, 90))), ((1, 2), ((3, 3), (4, 4))),
    ((4, 3), ((-2, -2), (1, 1))), ((0, 3), ((0, 0), (1, 1))),
))
def test_pad(isa, size, mode, shape, pads):
    x = sample(shape, SIZES[size])
    if mode != "constant" and any(n + min(a, 0) + min(b, 0) == 0 and max(a, 0) + max(b, 0) > 0 for n, (a, b) in zip(shape, pads, strict=True)):
        pytest.skip("nothing to repeat")
    cropped = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(shape, pads, strict=True))]
    grown = [(max(a, 0), max(b, 0)) for a, b in pads]
    options = {"constant_values": 17} if mode == "constant" else {}
    want = np.pad(cropped, grown, mode=mode, **options)
    attrs = {"pads": tuple(a for a, _ in pads) + tuple(b for _, b in pads), "mode": (("constant", "reflect", "edge", "wrap").index(mode),)}
    value = np.array(17, x.dtype)
    np.testing.assert_array_equal(one(f"pad_{size}", [x, value], attrs, want.shape, x.dtype, isa), want)


@each_isa
def test_pad_without_value_is_zero(isa):
    got = one("pad_x32", [np.ones((2, 2), np.float32)], {"pads": (0, 1, 0, 1), "mode": (0,)}, (2, 4), np.float32, isa)
    np.testing.assert_array_equal(got, [[0, 1, 1, 0]] * 2)


@each_isa
@each_size
@pytest.mark.parametrize(("shape", "target"), strides_of(
    ((), (3, 2)), ((1,), (5,)), ((3, 1), (3, 4)), ((1, 4), (3, 4)), ((4,), (2, 3, 4)), ((2, 1, 3, 1), (2, 5, 3, 7)), ((1,), (0,)),
    ((1, 1), (1, 9000)), ((3, 1), (2, 3, 1)),
))
def test_expand(isa, size, shape, target):
    x = sample(shape, SIZES[size])
    np.testing.assert_array_equal(one(f"expand_{size}", [x], {}, target, x.dtype, isa), np.broadcast_to(x, target))


@each_isa
@each_size
@pytest.mark.parametrize("n", [*LENGTHS, 20001])
def test_copy(isa, size, n):
    x = sample((n,), SIZES[size])
    np.testing.assert_array_equal(one(f"copy_{size}", [x], {}, (n, 1), x.dtype, isa).ravel(), x)


COORDS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def reference_resize(x, scales, sizes, **attributes):
    """What onnx.reference says, for scales or for sizes."""
    inputs, feeds = ["x", "", "", ""], {"x": x}
    if sizes is None:
        inputs[2], feeds["scales"] = "scales", np.asarray(scales, np.float32)
    else:
        inputs[3], feeds["sizes"] = "sizes", np.asarray(sizes, np.int64)
    node = onnx.helper.make_node("Resize", [n for n in inputs if True], ["y"], **attributes)
    node.input[2], node.input[3] = ("scales" if sizes is None else "", "sizes" if sizes is not None else "")
    infos = [onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feeds.items()]
    out = onnx.helper.make_tensor_value_info("y", onnx.helper.np_dtype_to_tensor_dtype(x.dtype), None)
    graph = onnx.helper.make_graph([node], "resize", infos, [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, feeds)[0]


RESIZE_CASES = strides_of(
    ((1, 4, 4, 3), (1, 2.0, 2.0, 1), None), ((1, 8, 5, 3), (1, 0.625, 0.75, 1), None), ((2, 2, 4), (1, 1, 2.5), None),
    ((1, 1, 5, 5), None, (1, 1, 7, 3)), ((1, 7, 6, 8), None, (1, 3, 9, 8)), ((4,), None, (1,)), ((1, 3, 3, 2), None, (1, 1, 1, 2)),
    ((2, 3, 4), None, (5, 3, 3)), ((1, 2, 2, 1), (1, 3.0, 3.0, 1), None), ((3, 4), (1.0, 1.0), None), ((5, 6), None, (10, 12)),
)


@each_isa
@pytest.mark.parametrize("coord", COORDS)
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize(("shape", "scales", "sizes"), RESIZE_CASES)
def test_resize_nearest(isa, coord, nearest, shape, scales, sizes):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    want = reference_resize(x, scales, sizes, mode="nearest", coordinate_transformation_mode=coord, nearest_mode=nearest)
    factors = tuple(float(s) for s in (scales or [m / n for m, n in zip(sizes, shape, strict=True)]))
    attrs = {"scales": factors, "coord": (COORDS.index(coord),), "nearest": (NEAREST.index(nearest),)}
    np.testing.assert_array_equal(one("resize_nearest_x32", [x], attrs, want.shape, x.dtype, isa), want)


@each_isa
@each_size
def test_resize_nearest_of_every_size(isa, size):
    x = sample((2, 3, 4, 5), SIZES[size])
    got = one(f"resize_nearest_{size}", [x], {"scales": (1.0, 2.0, 2.0, 1.0), "coord": (3,), "nearest": (2,)}, (2, 6, 8, 5), x.dtype, isa)
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


HOSTILE = strides_of(
    ("transpose_x32", [(2, 3)], {"perm": (0, 0)}, [(2, 2)]), ("transpose_x32", [(2, 3)], {"perm": (1, 2)}, [(3, 2)]),
    ("transpose_x32", [(2, 3)], {"perm": (1, 0)}, [(3, 3)]), ("transpose_x32", [(2, 3)], {}, [(3, 2)]),
    ("slice_x32", [(4,)], {"starts": (1,), "steps": (1,)}, [(4,)]), ("slice_x32", [(4,)], {"starts": (-1,), "steps": (1,)}, [(1,)]),
    ("slice_x32", [(4,)], {"starts": (0,), "steps": (2**62,)}, [(3,)]), ("slice_x32", [(4,)], {"starts": (3,), "steps": (-2,)}, [(3,)]),
    ("slice_x32", [(4,)], {"starts": (0,), "steps": (0,)}, [(2,)]),
    ("concat_x32", [(2,), (3,)], {"axis": (0,)}, [(6,)]), ("concat_x32", [(2,), (3,)], {"axis": (1,)}, [(5,)]),
    ("concat_x32", [(2, 2), (2, 3)], {"axis": (0,)}, [(4, 2)]), ("split_x32", [(5,)], {"axis": (0,)}, [(2,), (4,)]),
    ("gather_x32", [(5, 2), (3,)], {"axis": (0,)}, [(3, 2)]), ("copy_x32", [(5,)], {}, [(6,)]),
    ("expand_x32", [(3,)], {}, [(4,)]), ("expand_x32", [(3, 1)], {}, [(3,)]),
    ("pad_x32", [(3,)], {"pads": (1, 1), "mode": (0,)}, [(4,)]), ("pad_x32", [(3,)], {"pads": (-2, -2), "mode": (0,)}, [(0,)]),
    ("pad_x32", [(3,)], {"pads": (2**62, 2**62), "mode": (0,)}, [(5,)]), ("pad_x32", [(0,)], {"pads": (1, 1), "mode": (1,)}, [(2,)]),
    ("resize_nearest_x32", [(3,)], {"scales": (float("nan"),), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_nearest_x32", [(3,)], {"scales": (1.0, 1.0), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_nearest_x32", [(0,)], {"scales": (1.0,), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_linear_f32", [(3,)], {"scales": (-1.0,), "coord": (0,)}, [(3,)]),
    ("resize_linear_f32", [(3,)], {"scales": (1.0,), "coord": (7,)}, [(3,)]),
)


@pytest.mark.parametrize(("name", "inputs", "attrs", "outputs"), HOSTILE)
def test_inconsistent_requests_are_refused(name, inputs, attrs, outputs):
    with pytest.raises(ValueError, match="query: bad_|query: too_large"):
        call(name, [np.zeros(s, np.float32) for s in inputs], attrs, outputs, np.float32, ISAS[0])


def test_dtypes_of_operands_must_agree():
    with pytest.raises(ValueError, match="bad_dtype"):
        native.call("copy_x32", [np.zeros(3, np.float32)], {}, [np.zeros(3, np.float64)])
