"""matmul_f32 against float64, on every instruction set this CPU has."""

from __future__ import annotations

import numpy as np
import pytest
from gemm_oracle import CODES, ISAS, activate, activation_attrs, assert_close, call


def normal(shape, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def oracle(a, b, trans_a, trans_b, alpha, bias, r):
    a, b = (np.swapaxes(v, -1, -2) if t else v for v, t in ((a.astype(np.float64), trans_a), (b.astype(np.float64), trans_b)))
    y, magnitude = alpha * (a @ b), abs(alpha) * (np.abs(a) @ np.abs(b))
    for term in (bias, r):
        if term is not None:
            y, magnitude = y + term, magnitude + np.abs(term)
    return y, magnitude


def case(a_shape, b_shape, trans_a=False, trans_b=False, alpha=1.0, bias=True, residual=False):
    a, b = normal(a_shape, 1), normal(b_shape, 2)
    columns = b_shape[-2 if trans_b else -1]
    v = normal((columns,), 3) if bias else None
    exact, magnitude = oracle(a, b, trans_a, trans_b, alpha, v, None)
    r = normal(exact.shape, 4) if residual else None
    if residual:
        exact, magnitude = exact + r, magnitude + np.abs(r)
    attrs = {"trans_a": (int(trans_a),), "trans_b": (int(trans_b),), "alpha": (float(alpha),)}
    return [a, b, v, r], attrs, exact, magnitude, a_shape[-2 if trans_a else -1]


EDGES = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25]
WIDTHS = [1, 7, 8, 9, 15, 16, 17, 33, 64, 130]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("rows", EDGES)
@pytest.mark.parametrize("columns", WIDTHS)
def test_tile_edges(rows, columns, constant, isa):
    inputs, attrs, exact, magnitude, k = case((rows, 19), (19, columns), residual=True)
    got, info = call("matmul_f32", inputs, attrs, exact.shape, isa, constants=[1, 2] if constant else [])
    assert_close(got, exact, magnitude, k)
    assert info["flags"] == 0 and info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("trans_a", [True, False])
@pytest.mark.parametrize("trans_b", [True, False])
@pytest.mark.parametrize("alpha", [1.0, -0.5])
def test_transposes_and_alpha(trans_a, trans_b, alpha, constant, isa):
    inputs, attrs, exact, magnitude, k = case((30, 50) if trans_a else (50, 30), (21, 30) if trans_b else (30, 21),
                                              trans_a, trans_b, alpha)
    got, info = call("matmul_f32", inputs, attrs, exact.shape, isa, constants=[1] if constant else [])
    assert_close(got, exact, magnitude, k)
    assert info["flags"] == 0


BATCHES = {
    "same": ((2, 3, 7, 10), (2, 3, 10, 9)),
    "b_repeats": ((2, 3, 7, 10), (10, 20)),
    "a_repeats": ((7, 10), (4, 10, 9)),
    "crossed": ((2, 1, 5, 10), (3, 10, 9)),
    "big": ((65, 40), (40, 200)),
    "long_k": ((9, 700), (700, 40)),
    "no_k": ((4, 0), (0, 9)),
    "no_rows": ((0, 4), (4, 9)),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("name", BATCHES)
def test_leading_dimensions(name, constant, isa):
    inputs, attrs, exact, magnitude, k = case(*BATCHES[name])
    got, info = call("matmul_f32", inputs, attrs, exact.shape, isa, constants=[1] if constant else [])
    assert_close(got, exact, magnitude, k)
    assert info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("activation", CODES)
def test_activations(activation, rows, isa):
    inputs, attrs, exact, magnitude, k = case((rows, 33), (33, 43))
    got, info = call("matmul_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa)
    assert_close(got, activate(activation, exact), magnitude * 1.5, k)
    assert info["flags"] == 0


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("rows", "index"), [(1, 0), (1, 42), (9, 0), (9, 200), (9, 386)])
@pytest.mark.parametrize("activation", ["relu", "clip", "sigmoid", "tanh"])
def test_flipped_bit_is_found(activation, rows, index, isa):
    inputs, attrs, exact, *_ = case((rows, 33), (33, 43))
    attrs |= activation_attrs(activation)
    clean, quiet = call("matmul_f32", inputs, attrs, exact.shape, isa)
    got, info = call("matmul_f32", inputs, attrs, exact.shape, isa, fault=(index, 1 << 30))
    assert np.flatnonzero(got != clean).tolist() == [index]
    assert quiet["flags"] == 0 and info["flags"] and info["first_index"] <= index


@pytest.mark.parametrize("isa", ISAS)
def test_nan_is_kept_and_reported(isa):
    inputs, attrs, exact, *_ = case((9, 33), (33, 43))
    inputs[0][5, 2] = np.nan
    got, info = call("matmul_f32", inputs, attrs | activation_attrs("relu"), exact.shape, isa)
    assert np.isnan(got[5]).all() and np.isfinite(np.delete(got, 5, axis=0)).all()
    assert info["flags"] & 2


@pytest.mark.parametrize(("a", "b", "y", "reason"), [
    ((3, 4), (5, 6), (3, 6), "bad_shape"), ((3, 4), (4, 6), (3, 7), "bad_shape"), ((4,), (4, 6), (3, 6), "bad_rank"),
    ((2, 3, 4), (3, 4, 6), (2, 3, 6), "bad_shape"),
])
def test_refuses(a, b, y, reason):
    with pytest.raises(ValueError, match=reason):
        call("matmul_f32", [normal(a, 1), normal(b, 2)], {}, y, "")
