"""GatherElements, GatherND, ScatterElements, ScatterND: C++ and Python kernels against loops, and indices out of range."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import SIZES, call, each_isa, native, one, sample

from edgerun_kernels.registry import KERNELS
from edgerun_kernels.types import BadIndex

REDUCE = (lambda a, b: b, np.add, np.multiply, np.minimum, np.maximum)
SHAPES = [((5,), (7,), 0), ((3, 4), (3, 9), 1), ((3, 4), (8, 4), 0), ((2, 5, 3), (2, 2, 3), 1), ((4, 6), (2, 3), -1),
          ((3, 4), (0, 4), 0), ((1,), (1,), 0), ((2, 33), (2, 17), 1)]
TUPLES = [((4,), (6, 1), 0), ((3, 4, 5), (2, 3), 0), ((3, 4, 5), (7, 2, 1), 0), ((2, 3, 4), (2, 5, 1), 1),
          ((2, 3, 4, 33), (2, 3, 1), 2), ((3, 4), (0, 2), 0), ((3, 0), (2, 1), 0)]
each_wide = pytest.mark.parametrize("wide", [np.int32, np.int64])


def by_python(name, inputs, attrs, shape, dtype):
    y = np.zeros(shape, dtype)
    KERNELS[name](inputs, attrs, [y], None)
    return y


def along(x, shape, axis, wide, seed=3):
    extent = x.shape[axis]
    return np.random.default_rng(seed).integers(-extent, extent, shape).astype(wide)


def places(x, indices, axis):
    for c in np.ndindex(indices.shape):
        at = list(c)
        at[axis] = indices[c]
        yield c, tuple(at)


@each_isa
@each_wide
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("shape", "index", "axis"), SHAPES)
def test_gather_elements(isa, wide, size, shape, index, axis):
    x = sample(shape, SIZES[size])
    indices = along(x, index, axis, wide)
    want = np.zeros(index, x.dtype)
    for c, at in places(x, indices, axis):
        want[c] = x[at]
    got = one(f"gather_elements_{size}", [x, indices], {"axis": (axis,)}, index, x.dtype, isa)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(by_python(f"gather_elements_{size}", [x, indices], {"axis": (axis,)}, index, x.dtype), want)


@each_isa
@pytest.mark.parametrize(("suffix", "reduction"), [*((s, 0) for s in SIZES), *((t, r) for t in ("f32", "i32", "i64") for r in range(5))])
@pytest.mark.parametrize(("shape", "index", "axis"), SHAPES)
def test_scatter_elements(isa, suffix, reduction, shape, index, axis):
    dtype = SIZES.get(suffix) or {"f32": np.float32, "i32": np.int32, "i64": np.int64}[suffix]
    x, updates = sample(shape, dtype, 1), sample(index, dtype, 2)
    indices, attrs = along(x, index, axis, np.int64), {"axis": (axis,), "reduction": (reduction,)}
    want = x.copy()
    with np.errstate(all="ignore"):
        for c, at in places(x, indices, axis):
            want[at] = REDUCE[reduction](want[at], updates[c])
    name = f"scatter_elements_{suffix}"
    np.testing.assert_array_equal(one(name, [x, indices, updates], attrs, shape, dtype, isa), want)
    np.testing.assert_array_equal(by_python(name, [x, indices, updates], attrs, shape, dtype), want)


def tuples(x, shape, batch, wide, seed=3):
    rng = np.random.default_rng(seed)
    extents = x.shape[batch : batch + shape[-1]]
    return np.stack([rng.integers(-e, e, shape[:-1]) for e in extents], -1).astype(wide)


@each_isa
@each_wide
@pytest.mark.parametrize(("shape", "index", "batch"), TUPLES)
def test_gather_nd(isa, wide, shape, index, batch):
    x = sample(shape, np.int32)
    indices = tuples(x, index, batch, wide)
    out = (*index[:-1], *shape[batch + index[-1] :])
    want = np.zeros(out, x.dtype)
    for c in np.ndindex(index[:-1]):
        want[c] = x[(*c[:batch], *indices[c])]
    got = one("gather_nd_x32", [x, indices], {"batch_dims": (batch,)}, out, x.dtype, isa)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(by_python("gather_nd_x32", [x, indices], {"batch_dims": (batch,)}, out, x.dtype), want)


@each_isa
@pytest.mark.parametrize("reduction", range(5))
@pytest.mark.parametrize(("shape", "index"), [(s, i) for s, i, b in TUPLES if b == 0])
def test_scatter_nd(isa, reduction, shape, index):
    x = sample(shape, np.float32, 1)
    updates = sample((*index[:-1], *shape[index[-1] :]), np.float32, 2)
    indices, attrs = tuples(x, index, 0, np.int64), {"reduction": (reduction,)}
    want = x.copy()
    for c in np.ndindex(index[:-1]):
        want[tuple(indices[c])] = REDUCE[reduction](want[tuple(indices[c])], updates[c])
    np.testing.assert_array_equal(one("scatter_nd_f32", [x, indices, updates], attrs, shape, np.float32, isa), want)
    np.testing.assert_array_equal(by_python("scatter_nd_f32", [x, indices, updates], attrs, shape, np.float32), want)


@each_isa
@pytest.mark.parametrize("reduction", [3, 4])
def test_nan_wins_over_a_minimum_or_maximum(isa, reduction):
    x, updates = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 5], np.float32)
    got = one("scatter_elements_f32", [x, np.arange(3), updates], {"axis": (0,), "reduction": (reduction,)}, (3,), np.float32, isa)
    np.testing.assert_array_equal(got, REDUCE[reduction](x, updates))


X, U = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((1, 2), np.float32)
BAD = [
    ("gather_x32", [X, np.array([[0, 3]])], {"axis": (0,)}, (1, 2, 4), (1, 3, 3)),
    ("gather_elements_x32", [X, np.array([[0, -5]])], {"axis": (1,)}, (1, 2), (1, -5, 4)),
    ("gather_nd_x32", [X, np.array([[0, 4]])], {}, (1,), (1, 4, 4)),
    ("scatter_elements_x32", [X, np.array([[0, 4]]), U], {"axis": (1,)}, (3, 4), (1, 4, 4)),
    ("scatter_nd_f32", [X, np.array([[1], [3]]), np.ones((2, 4), np.float32)], {"reduction": (1,)}, (3, 4), (1, 3, 3)),
]


@each_isa
@pytest.mark.parametrize(("name", "inputs", "attrs", "shape", "bad"), BAD, ids=[b[0] for b in BAD])
def test_an_index_out_of_range_is_reported_and_not_followed(isa, name, inputs, attrs, shape, bad):
    _, seen = call(name, inputs, attrs, [shape], np.float32, isa)
    assert seen["bad_index"] == bad
    with pytest.raises(ValueError, match="bad_index"):
        native.call(name, inputs, attrs, [np.zeros(shape, np.float32)], constants=[1], isa=isa)
    with pytest.raises(BadIndex) as caught:
        by_python(name, inputs, attrs, shape, np.float32)
    assert (caught.value.position, caught.value.value, caught.value.extent) == bad
