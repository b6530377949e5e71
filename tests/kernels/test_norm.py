"""softmax, normalisations, reductions, argmax against float64; the bounds are c · eps of what was added up."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import DTYPES, EPS, ISAS, LENGTHS, call, close, each_isa, native, one, sample

SOFTMAX_SHAPES = [
    *(((3, n), 1) for n in LENGTHS if n),
    ((2, 5, 7), 1),
    ((2, 5, 33), 1),
    ((4, 3), 0),
    ((2, 3, 4, 5), -3),
    ((10,), 0),
    ((0, 3), 1),
    ((3, 0), 1),
    ((2, 700, 3), 1),
]
each_softmax = pytest.mark.parametrize(("shape", "axis"), SOFTMAX_SHAPES, ids=str)


def wide_softmax(x, axis):
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
        return e / e.sum(axis, keepdims=True)


@each_isa
@each_softmax
@pytest.mark.parametrize("checks", [False, True])
def test_softmax(isa, shape, axis, checks):
    x = sample(shape, np.float32) * 5
    want = wide_softmax(x, axis)
    (got,), seen = call("softmax_f32", [x], {"axis": (axis,)}, [shape], np.float32, isa, checks=checks)
    # x - max rounds once, which e^ turns into a relative error of that size
    distance = np.abs(x - x.max(axis, keepdims=True, initial=-np.inf), where=np.isfinite(x), out=np.zeros(shape))
    close(got, want, 1e-44 + (8 + distance) * EPS * want)
    assert (seen["flags"], seen["checked"]) == (0, x.size if checks else 0)


@each_isa
@each_softmax
@pytest.mark.parametrize("checks", [False, True])
def test_log_softmax(isa, shape, axis, checks):
    x = sample(shape, np.float32) * 5
    with np.errstate(all="ignore"):
        shifted = x.astype(np.float64) - x.max(axis, keepdims=True, initial=-np.inf)
        want = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    (got,), seen = call("log_softmax_f32", [x], {"axis": (axis,)}, [shape], np.float32, isa, checks=checks)
    close(got, want, 16 * EPS * (1 + np.abs(want)))
    assert (seen["flags"], seen["checked"]) == (0, x.size if checks else 0)


@each_isa
@pytest.mark.parametrize("op", ["softmax_f32", "log_softmax_f32"])
@pytest.mark.parametrize(("shape", "axis"), [((3, 37), 1), ((2, 37, 5), 1)])
def test_nan_takes_its_row_and_no_other(isa, op, shape, axis):
    x = sample(shape, np.float32)
    x[1, 20] = np.nan
    (got,), seen = call(op, [x], {"axis": (axis,)}, [shape], np.float32, isa, checks=True)
    assert np.isnan(got[1]).all() and np.isfinite(np.delete(got, 1, 0)).all() and seen["flags"] & 2


@each_isa
@pytest.mark.parametrize("op", ["softmax_f32", "log_softmax_f32"])
def test_huge_logits_do_not_overflow(isa, op):
    x = np.array([[3e38, 1e38, -3e38, 0], [1e4, 1e4, 0, 0]], np.float32)[:, [0, 1, 3, 3]]
    got = one(op, [x], {"axis": (1,)}, x.shape, np.float32, isa)
    assert np.isfinite(got).all()


@each_isa
@pytest.mark.parametrize(("shape", "axis"), [((3, 37), 1), ((2, 37, 5), 1)])
@pytest.mark.parametrize("index", [0, 36, 110])
@pytest.mark.parametrize("bit", [26, 30, 31])
def test_a_flipped_bit_breaks_the_sum(isa, shape, axis, index, bit):
    x = sample(shape, np.float32) * 0.1
    _, seen = call(
        "softmax_f32", [x], {"axis": (axis,)}, [shape], np.float32, isa, checks=True, fault=(index, 1 << bit)
    )
    assert seen["flags"] and 0 <= seen["first_index"] <= index


@each_isa
@pytest.mark.parametrize("n", [k for k in LENGTHS if k])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm(isa, n, bias):
    x, scale, shift = (
        sample((3, n), np.float32) + 10,
        sample((n,), np.float32, 1),
        sample((n,), np.float32, 2) if bias else None,
    )
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    want = unit * scale + (shift if bias else 0)
    inputs = [x, scale, shift] if bias else [x, scale]
    got = one("layer_norm_f32", inputs, {"axis": (-1,), "epsilon": (1e-5,)}, x.shape, np.float32, isa)
    # the mean carries an error of eps · |x|, divided by the deviation like everything else
    deviation = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    close(got, want, 8 * EPS * (np.abs(want) + np.abs(scale) * (np.abs(unit) + np.abs(wide).max() / deviation)))


@each_isa
def test_layer_norm_over_several_dimensions(isa):
    x, scale = sample((2, 3, 4, 5), np.float32), sample((4, 5), np.float32, 1)
    wide = x.astype(np.float64)
    centred = wide - wide.mean((2, 3), keepdims=True)
    want = centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 0.5) * scale
    close(
        one("layer_norm_f32", [x, scale, None], {"axis": (2,), "epsilon": (0.5,)}, x.shape, np.float32, isa),
        want,
        64 * EPS * 8,
    )


@each_isa
@pytest.mark.parametrize(
    "shape", [(4, 3), (2, 9, 9, 16), (50, 50, 3), (7, 1), (3, 700), (2, 5000), (0, 4), (4, 0), (11, 127)], ids=str
)
@pytest.mark.parametrize("code", [0, 1, 4])
@pytest.mark.parametrize("checks", [False, True])
def test_batch_norm(isa, shape, code, checks):
    x, scale, shift = sample(shape, np.float32), sample(shape[-1:], np.float32, 1), sample(shape[-1:], np.float32, 2)
    want = x.astype(np.float64) * scale + shift
    bound = 2 * EPS * (np.abs(x.astype(np.float64) * scale) + np.abs(shift))
    want = {0: want, 1: np.maximum(want, 0), 4: 1 / (1 + np.exp(-want))}[code]
    (got,), seen = call(
        "batch_norm_f32", [x, scale, shift], {"activation": (code,)}, [shape], np.float32, isa, checks=checks
    )
    close(got, want, bound + 4 * EPS * np.abs(want))
    assert (seen["flags"], seen["checked"]) == (0, x.size if checks and code else 0)


REDUCE = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod}
REDUCE_CASES = [
    ((7,), (0,)),
    ((5, 33), (1,)),
    ((5, 33), (0,)),
    ((2, 7, 7, 64), (1, 2)),
    ((2, 3, 9, 9), (2, 3)),
    ((4, 5, 6), (0, 2)),
    ((4, 5, 6), (1,)),
    ((4, 5, 6), ()),
    ((3, 4, 5, 6), (0, 2)),
    ((3, 4, 5, 6), (1, 3)),
    ((2, 300, 37), (1,)),
    ((2, 9000), (1,)),
    ((1, 1), (0,)),
    ((), ()),
    ((3, 4), (-1,)),
    ((2, 2, 2, 2, 2, 2, 2, 2), (0, 2, 4, 6)),
    ((2, 2, 2, 2, 2, 2, 2, 2), (1, 3, 5, 7)),
    ((0, 3), (1,)),
    ((4, 31, 65), (0, 1)),
]
each_reduce = pytest.mark.parametrize(("shape", "axes"), REDUCE_CASES, ids=str)


@each_isa
@each_reduce
@pytest.mark.parametrize("op", REDUCE)
@pytest.mark.parametrize("keep", [False, True])
def test_reduce_f32(isa, shape, axes, op, keep):
    x = sample(shape, np.float32) if op != "prod" else np.exp(sample(shape, np.float32) * 0.01)
    over = axes or tuple(range(len(shape)))
    wide = x.astype(np.float64)
    want = np.asarray(REDUCE[op](wide, axis=over, keepdims=keep))
    got = one(f"reduce_{op}_f32", [x], {"axes": axes}, want.shape, np.float32, isa)
    n = max(x.size // max(want.size, 1), 1)
    bound = {
        "sum": 130 * EPS * np.abs(wide).sum(over, keepdims=keep),
        "mean": 130 * EPS * np.abs(wide).sum(over, keepdims=keep) / n,
        "max": 0,
        "min": 0,
        "prod": EPS * np.abs(want),
    }[op]
    close(got, want, np.minimum(n, 130) / 130 * bound + EPS * np.abs(want) * (op not in ("max", "min")))


@each_isa
@each_reduce
@pytest.mark.parametrize("op", ["sum", "max", "min"])
@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_reduce_integers(isa, shape, axes, op, dtype):
    x = sample(shape, DTYPES[dtype])
    over = axes or tuple(range(len(shape)))
    options = {"dtype": x.dtype} if op == "sum" else {}
    want = np.asarray(REDUCE[op](x, axis=over, **options))
    np.testing.assert_array_equal(one(f"reduce_{op}_{dtype}", [x], {"axes": axes}, want.shape, x.dtype, isa), want)


@each_isa
@pytest.mark.parametrize("op", REDUCE)
@pytest.mark.parametrize("axis", [0, 1])
def test_reduce_propagates_nan(isa, op, axis):
    x = np.abs(sample((40, 50), np.float32)) + 1
    x[17, 31] = np.nan
    got = one(f"reduce_{op}_f32", [x], {"axes": (axis,)}, x.sum(axis).shape, np.float32, isa)
    assert list(np.flatnonzero(np.isnan(got))) == [17 if axis else 31]


@each_isa
@pytest.mark.parametrize(
    ("op", "identity"), [("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf), ("mean", np.nan)]
)
def test_reduce_of_nothing(isa, op, identity):
    for_rows = one(f"reduce_{op}_f32", [np.zeros((3, 0), np.float32)], {"axes": (1,)}, (3,), np.float32, isa)
    for_columns = one(f"reduce_{op}_f32", [np.zeros((0, 3), np.float32)], {"axes": (0,)}, (1, 3), np.float32, isa)
    np.testing.assert_array_equal(for_rows, np.full(3, identity, np.float32))
    np.testing.assert_array_equal(for_columns, np.full((1, 3), identity, np.float32))


@each_isa
def test_a_long_sum_keeps_its_digits(isa):
    x = np.full(1 << 22, 0.1, np.float32)
    got = one("reduce_sum_f32", [x], {"axes": (0,)}, (), np.float32, isa)
    close(got, np.asarray(x.astype(np.float64).sum()), 16 * EPS * 0.1 * x.size)


@each_isa
@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((10,), 0), ((4, 1000), 1), ((4, 7, 3), 1), ((4, 7, 130), -2), ((5, 1), 1), ((0, 3), 1), ((3, 4), 0)],
)
@pytest.mark.parametrize("last", [0, 1])
def test_argmax(isa, op, shape, axis, last):
    x = np.round(sample(shape, np.float32))
    f = np.argmax if op == "max" else np.argmin
    want = np.asarray(x.shape[axis] - 1 - f(np.flip(x, axis), axis=axis) if last else f(x, axis=axis))
    got = one(f"arg_{op}_f32", [x], {"axis": (axis,), "select_last": (last,)}, want.shape, np.int64, isa)
    np.testing.assert_array_equal(got, want)


@each_isa
@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_first_nan_is_the_extreme(isa, op, last):
    x = sample((2, 30), np.float32)
    x[1, [11, 20]] = np.nan
    got = one(f"arg_{op}_f32", [x], {"axis": (1,), "select_last": (last,)}, (2, 1), np.int64, isa)
    assert got[1, 0] == 11


@pytest.mark.parametrize(
    ("name", "shape", "attrs", "out"),
    [
        ("reduce_sum_f32", (2, 3), {"axes": (2,)}, (2,)),
        ("reduce_sum_f32", (2, 3), {"axes": (1, 1)}, (2,)),
        ("reduce_sum_f32", (2, 3), {"axes": (1,)}, (3,)),
        ("reduce_sum_f32", (2, 3), {"axes": (0,)}, (1, 2)),
        ("softmax_f32", (2, 3), {"axis": (2,)}, (2, 3)),
        ("softmax_f32", (2, 3), {"axis": (1,)}, (3, 2)),
        ("arg_max_f32", (2, 3), {"axis": (1,)}, (2,)),
        ("layer_norm_f32", (2, 3), {}, (2, 3)),
        ("batch_norm_f32", (2, 3), {}, (2, 3)),
    ],
    ids=str,
)
def test_inconsistent_requests_are_refused(name, shape, attrs, out):
    with pytest.raises(ValueError, match="query: bad_"):
        call(name, [np.zeros(shape, np.float32)], attrs, [out], np.float32, ISAS[0])


def test_layer_norm_wants_as_many_scales_as_it_normalises():
    with pytest.raises(ValueError, match="bad_shape"):
        native.call(
            "layer_norm_f32",
            [np.zeros((2, 3), np.float32), np.zeros(2, np.float32)],
            {},
            [np.zeros((2, 3), np.float32)],
        )
