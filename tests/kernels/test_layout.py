"""Kernels that move bits: exact, against NumPy, for every element size (resize: test_resize.py)."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import ISAS, LENGTHS, SIZES, call, each_isa, native, one, sample

each_size = pytest.mark.parametrize("size", SIZES)


def cases(*rows):
    return [pytest.param(*c, id=str(c).replace(" ", "")) for c in rows]


@each_isa
@each_size
@pytest.mark.parametrize(
    ("shape", "perm"),
    cases(
        ((), ()),
        ((7,), (0,)),
        ((3, 5), (1, 0)),
        ((33, 65), (1, 0)),
        ((64, 128), (1, 0)),
        ((130, 67), (1, 0)),
        ((0, 4), (1, 0)),
        ((1, 3, 9, 7), (0, 2, 3, 1)),
        ((2, 9, 7, 3), (0, 3, 1, 2)),
        ((2, 16, 9, 31), (0, 2, 3, 1)),
        ((2, 9, 31, 16), (0, 3, 1, 2)),
        ((2, 3, 4, 5), (3, 2, 1, 0)),
        ((2, 3, 4, 5), (0, 2, 1, 3)),
        ((2, 3, 4, 5), (1, 0, 3, 2)),
        ((4, 1, 5, 1), (2, 3, 0, 1)),
        ((2, 2, 2, 2, 2, 2, 2, 3), (7, 1, 5, 3, 6, 0, 4, 2)),
        ((5, 2, 1500), (2, 0, 1)),
        ((1500, 2), (1, 0)),
        ((2, 1500), (1, 0)),
        ((4, 1030), (1, 0)),
        ((1030, 4), (1, 0)),
        ((6, 2, 37), (0, 2, 1)),
        ((3, 11, 5, 4), (2, 1, 0, 3)),
    ),
)
def test_transpose(isa, size, shape, perm):
    x = sample(shape, SIZES[size])
    want = np.transpose(x, perm)
    np.testing.assert_array_equal(one(f"transpose_{size}", [x], {"perm": perm}, want.shape, x.dtype, isa), want)


@each_isa
@each_size
@pytest.mark.parametrize(
    ("shapes", "axis"),
    cases(
        (((3,),), 0),
        (((3,), (0,), (5,)), 0),
        (((2, 3), (2, 4)), 1),
        (((2, 3), (2, 4)), -1),
        (((5, 4, 16), (5, 4, 32)), 2),
        (((1, 8, 8, 7), (1, 8, 8, 9), (1, 8, 8, 64)), 3),
        (((2, 3), (4, 3)), 0),
        (((0, 2), (0, 3)), 1),
    ),
)
def test_concat_and_split(isa, size, shapes, axis):
    parts = [sample(s, SIZES[size], k) for k, s in enumerate(shapes)]
    whole = np.concatenate(parts, axis)
    np.testing.assert_array_equal(one(f"concat_{size}", parts, {"axis": (axis,)}, whole.shape, whole.dtype, isa), whole)
    back, _ = call(f"split_{size}", [whole], {"axis": (axis,)}, shapes, whole.dtype, isa)
    for part, got in zip(parts, back, strict=True):
        np.testing.assert_array_equal(got, part)


@each_isa
@each_size
@pytest.mark.parametrize(
    ("shape", "key"),
    cases(
        ((9,), (slice(2, 7, 1),)),
        ((9,), (slice(8, None, -1),)),
        ((9,), (slice(7, 0, -3),)),
        ((9,), (slice(3, 3, 1),)),
        ((4, 6, 5), (slice(1, 3, 1), slice(0, 6, 2), slice(0, 5, 1))),
        ((4, 6, 5), (slice(0, 4, 1), slice(0, 6, 1), slice(4, None, -1))),
        ((4, 6, 5), (slice(0, 4, 1), slice(2, 3, 1), slice(0, 5, 1))),
        ((2, 3, 4100), (slice(0, 2, 1), slice(0, 3, 2), slice(5, 4099, 1))),
        ((2, 0, 3), (slice(0, 2, 1), slice(0, 0, 1), slice(1, 3, 1))),
        ((1, 1), (slice(0, 1, 1), slice(0, 1, 1))),
    ),
)
def test_slice(isa, size, shape, key):
    x = sample(shape, SIZES[size])
    want = x[key]
    attrs = {
        "starts": tuple(min(k.start, max(n - 1, 0)) for k, n in zip(key, shape, strict=True)),
        "steps": tuple(k.step for k in key),
    }
    np.testing.assert_array_equal(one(f"slice_{size}", [x], attrs, want.shape, x.dtype, isa), want)


@each_isa
@each_size
@pytest.mark.parametrize("kind", [np.int64, np.int32])
@pytest.mark.parametrize(
    ("shape", "indices", "axis"),
    cases(
        ((5,), 3, 0),
        ((5,), [[0, 4], [-1, -5]], 0),
        ((5, 3), [4, 0, -1], 0),
        ((5, 7, 16), [6, 0, -7, 2], 1),
        ((5, 7, 3), [1, 2], -1),
        ((5, 4), [], 0),
        ((2, 3, 4), [[1], [0]], 1),
    ),
)
def test_gather(isa, size, kind, shape, indices, axis):
    x, indices = sample(shape, SIZES[size]), np.asarray(indices, kind)
    want = np.take(x, indices, axis=axis)
    np.testing.assert_array_equal(
        one(f"gather_{size}", [x, indices], {"axis": (axis,)}, want.shape, x.dtype, isa), want
    )


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
@pytest.mark.parametrize(
    ("shape", "pads"),
    cases(
        ((5,), ((2, 3),)),
        ((4, 6), ((0, 0), (3, 1))),
        ((4, 6), ((1, 2), (0, 0))),
        ((2, 5, 4, 3), ((0, 0), (1, 2), (3, 1), (0, 0))),
        ((3, 4), ((-1, 2), (1, -2))),
        ((3, 4), ((0, 0), (0, 0))),
        ((3, 40), ((7, 7), (100, 90))),
        ((1, 2), ((3, 3), (4, 4))),
        ((4, 3), ((-2, -2), (1, 1))),
        ((0, 3), ((0, 0), (1, 1))),
    ),
)
def test_pad(isa, size, mode, shape, pads):
    x = sample(shape, SIZES[size])
    if mode != "constant" and any(
        n + min(a, 0) + min(b, 0) == 0 and max(a, 0) + max(b, 0) > 0 for n, (a, b) in zip(shape, pads, strict=True)
    ):
        pytest.skip("nothing to repeat")
    cropped = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(shape, pads, strict=True))]
    grown = [(max(a, 0), max(b, 0)) for a, b in pads]
    options = {"constant_values": 17} if mode == "constant" else {}
    want = np.pad(cropped, grown, mode=mode, **options)
    attrs = {
        "pads": tuple(a for a, _ in pads) + tuple(b for _, b in pads),
        "mode": (("constant", "reflect", "edge", "wrap").index(mode),),
    }
    value = np.array(17, x.dtype)
    np.testing.assert_array_equal(one(f"pad_{size}", [x, value], attrs, want.shape, x.dtype, isa), want)


@each_isa
def test_pad_without_value_is_zero(isa):
    got = one("pad_x32", [np.ones((2, 2), np.float32)], {"pads": (0, 1, 0, 1), "mode": (0,)}, (2, 4), np.float32, isa)
    np.testing.assert_array_equal(got, [[0, 1, 1, 0]] * 2)


@each_isa
@each_size
@pytest.mark.parametrize(
    ("shape", "target"),
    cases(
        ((), (3, 2)),
        ((1,), (5,)),
        ((3, 1), (3, 4)),
        ((1, 4), (3, 4)),
        ((4,), (2, 3, 4)),
        ((2, 1, 3, 1), (2, 5, 3, 7)),
        ((1,), (0,)),
        ((1, 1), (1, 9000)),
        ((3, 1), (2, 3, 1)),
    ),
)
def test_expand(isa, size, shape, target):
    x = sample(shape, SIZES[size])
    np.testing.assert_array_equal(one(f"expand_{size}", [x], {}, target, x.dtype, isa), np.broadcast_to(x, target))


@each_isa
@each_size
@pytest.mark.parametrize("n", [*LENGTHS, 20001])
def test_copy(isa, size, n):
    x = sample((n,), SIZES[size])
    np.testing.assert_array_equal(one(f"copy_{size}", [x], {}, (n, 1), x.dtype, isa).ravel(), x)


HOSTILE = cases(
    ("transpose_x32", [(2, 3)], {"perm": (0, 0)}, [(2, 2)]),
    ("transpose_x32", [(2, 3)], {"perm": (1, 2)}, [(3, 2)]),
    ("transpose_x32", [(2, 3)], {"perm": (1, 0)}, [(3, 3)]),
    ("transpose_x32", [(2, 3)], {}, [(3, 2)]),
    ("slice_x32", [(4,)], {"starts": (1,), "steps": (1,)}, [(4,)]),
    ("slice_x32", [(4,)], {"starts": (-1,), "steps": (1,)}, [(1,)]),
    ("slice_x32", [(4,)], {"starts": (0,), "steps": (2**62,)}, [(3,)]),
    ("slice_x32", [(4,)], {"starts": (3,), "steps": (-2,)}, [(3,)]),
    ("slice_x32", [(4,)], {"starts": (0,), "steps": (0,)}, [(2,)]),
    ("concat_x32", [(2,), (3,)], {"axis": (0,)}, [(6,)]),
    ("concat_x32", [(2,), (3,)], {"axis": (1,)}, [(5,)]),
    ("concat_x32", [(2, 2), (2, 3)], {"axis": (0,)}, [(4, 2)]),
    ("split_x32", [(5,)], {"axis": (0,)}, [(2,), (4,)]),
    ("gather_x32", [(5, 2), (3,)], {"axis": (0,)}, [(3, 2)]),
    ("copy_x32", [(5,)], {}, [(6,)]),
    ("expand_x32", [(3,)], {}, [(4,)]),
    ("expand_x32", [(3, 1)], {}, [(3,)]),
    ("pad_x32", [(3,)], {"pads": (1, 1), "mode": (0,)}, [(4,)]),
    ("pad_x32", [(3,)], {"pads": (-2, -2), "mode": (0,)}, [(0,)]),
    ("pad_x32", [(3,)], {"pads": (2**62, 2**62), "mode": (0,)}, [(5,)]),
    ("pad_x32", [(0,)], {"pads": (1, 1), "mode": (1,)}, [(2,)]),
    ("resize_nearest_x32", [(3,)], {"scales": (float("nan"),), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_nearest_x32", [(3,)], {"scales": (1.0, 1.0), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_nearest_x32", [(0,)], {"scales": (1.0,), "coord": (0,), "nearest": (0,)}, [(3,)]),
    ("resize_linear_f32", [(3,)], {"scales": (-1.0,), "coord": (0,)}, [(3,)]),
    ("resize_linear_f32", [(3,)], {"scales": (1.0,), "coord": (7,)}, [(3,)]),
)


@pytest.mark.parametrize(("name", "inputs", "attrs", "outputs"), HOSTILE)
def test_inconsistent_requests_are_refused(name, inputs, attrs, outputs):
    with pytest.raises(ValueError, match=r"query: (bad_|too_large)"):
        call(name, [np.zeros(s, np.float32) for s in inputs], attrs, outputs, np.float32, ISAS[0])


def test_dtypes_of_operands_must_agree():
    with pytest.raises(ValueError, match="bad_dtype"):
        native.call("copy_x32", [np.zeros(3, np.float32)], {}, [np.zeros(3, np.float64)])
