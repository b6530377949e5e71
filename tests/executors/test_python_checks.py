"""MAED checks of the Python kernels: silent on clean results over the whole float range, loud on a flipped bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun_kernels.checks import IDENTITY, NON_FINITE, Sink
from edgerun_kernels.registry import KERNELS

ACTIVATIONS = {
    "relu_f32": {}, "clip_f32": {"act_alpha": (0.0,), "act_beta": (6.0,)}, "leaky_relu_f32": {"act_alpha": (0.01,)},
    "sigmoid_f32": {}, "tanh_f32": {}, "hard_sigmoid_f32": {"act_alpha": (1 / 6,), "act_beta": (0.5,)},
    "hard_swish_f32": {}, "silu_f32": {}, "gelu_f32": {}, "elu_f32": {"act_alpha": (1.0,)}, "exp_f32": {}, "erf_f32": {},
}


def clean_values() -> np.ndarray:
    rng = np.random.default_rng(0)
    edges = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.0, -3.0, 6.0, 88.0, -88.0, 104.0, -104.0, 3e38, -3e38]
    wide = rng.standard_normal(20_000) * 10.0 ** rng.uniform(-30, 30, 20_000)
    return np.concatenate([edges, rng.standard_normal(100_000) * 4, wide]).astype(np.float32)


def run(name: str, x: np.ndarray, sink: Sink, attrs: dict | None = None) -> np.ndarray:
    y = np.empty_like(x)
    KERNELS[name]([x], ACTIVATIONS.get(name, {}) if attrs is None else attrs, [y], sink)
    return y


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_clean_results_raise_no_alarm(name: str) -> None:
    x, sink = clean_values(), Sink()
    run(name, x, sink)
    assert (sink.flags, sink.first_index, sink.checked) == (0, -1, x.size)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("bit", [20, 24, 29, 31])
@pytest.mark.parametrize("value", [0.7, -0.6])
def test_a_flipped_bit_is_found_where_it_is(name: str, bit: int, value: float) -> None:
    x = np.full(64, value, np.float32)
    clean = run(name, x, Sink())
    sink = Sink(fault=(37, 1 << bit))
    y = run(name, x, sink)
    assert np.count_nonzero(y.view(np.uint32) != clean.view(np.uint32)) == 1
    effective = bool(y[37] != clean[37])  # 0 and -0 are the same number
    assert sink.flags == (IDENTITY if effective else 0)
    assert sink.first_index == (37 if effective else -1)
    assert not effective or (sink.got == y[37] and sink.expected == pytest.approx(float(clean[37]), rel=1e-5))


@pytest.mark.parametrize("name", ["relu_f32", "gelu_f32", "log_softmax_f32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_results_are_found(name: str, bad: float) -> None:
    x = np.ones((2, 4), np.float32)
    x[1, 2] = bad
    sink = Sink()
    run(name, x, sink, {"axis": (1,)})
    assert sink.flags & NON_FINITE
    assert sink.first_index in ((6,) if name != "log_softmax_f32" else (4, 5, 6, 7))


@pytest.mark.parametrize("name", ["relu_f32", "clip_f32", "sigmoid_f32", "tanh_f32", "hard_sigmoid_f32", "elu_f32"])
def test_an_infinity_that_the_activation_hides_is_found(name: str) -> None:
    sink = Sink()
    y = run(name, np.array([0.5, -np.inf], np.float32), sink)
    assert np.isfinite(y).all()
    assert (sink.flags, sink.first_index) == (NON_FINITE, 1)


def test_softmax_rows_must_sum_to_one() -> None:
    x = np.random.default_rng(1).standard_normal((50, 1000)).astype(np.float32) * 10
    sink = Sink()
    run("softmax_f32", x, sink, {"axis": (1,)})
    assert (sink.flags, sink.checked) == (0, x.size)
    sink = Sink(fault=(3 * 1000 + int(x[3].argmax()), 1 << 23))
    run("softmax_f32", x, sink, {"axis": (1,)})
    assert (sink.flags, sink.first_index) == (IDENTITY, 3000)


@pytest.mark.parametrize("activation", [0, 1, 4])
def test_fused_activations_are_checked_like_standalone_ones(activation: int) -> None:
    # Every sum is 3.0, and 3.0 with the mask applied is an infinity.
    x, w = np.ones((1, 2, 2, 3), np.float32), np.ones((4, 1, 1, 3), np.float32)
    y = np.empty((1, 2, 2, 4), np.float32)
    clean, faulty = Sink(), Sink(fault=(5, 0x3FC00000))
    KERNELS["conv2d_f32"]([x, w, None, None], {"activation": (activation,)}, [y], clean)
    KERNELS["conv2d_f32"]([x, w, None, None], {"activation": (activation,)}, [y], faulty)
    assert (clean.flags, clean.checked) == (0, 16)
    assert faulty.first_index == 5
    assert faulty.flags
