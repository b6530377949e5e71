"""Activations over all exponents: no false alarm on any finite input, accuracy against float64, flipped bits are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gemm_oracle import ISAS, PARAMETERS, activate, call

CHECKED = ["relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "gelu", "gelu_tanh", "elu"]
SMOOTH = {"sigmoid": 32, "tanh": 4, "elu": 4, "leaky_relu": 1, "relu": 0, "clip": 0}
"""Relative error in ulp where the exact result is a normal number (sigmoid: 2 near 0, 10 at |x| = 86, 31 without fused multiply-add)."""


def dense(count: int = 1 << 20) -> np.ndarray:
    """Every exponent of both signs with spread mantissas, all values near 0 and around 1, zeros, denormals, extremes."""
    bits = (np.arange(count, dtype=np.uint64) * 4093).astype(np.uint32)
    corners = np.array([0.0, -0.0, 1e-45, -1e-45, 1.17549435e-38, -1.17549435e-38, 1e30, -1e30, 3.4028235e38, -3.4028235e38,
                        6.0, -6.0, 3.0, -3.0, 86.0, -86.0, 87.5, -87.5, 104.0, -104.0], np.float32)
    x = np.concatenate([bits.view(np.float32), np.linspace(-20, 20, 100003, dtype=np.float32), corners])
    return np.ascontiguousarray(x[np.isfinite(x)])


def attrs(name: str) -> dict[str, tuple]:
    alpha, beta = PARAMETERS.get(name, (0.0, 0.0))
    return {"act_alpha": (float(alpha),), "act_beta": (float(beta),), "tanh": (int(name == "gelu_tanh"),)}


def kernel(name: str) -> str:
    return f"{name.removesuffix('_tanh')}_f32"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CHECKED)
def test_no_false_alarm_on_any_exponent(name, isa):
    x = dense()
    _, info = call(kernel(name), [x], attrs(name), x.shape, isa)
    assert info["checked"] == x.size
    assert info["flags"] == 0


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CHECKED)
def test_accuracy_over_all_exponents(name, isa):
    x = dense(1 << 18)
    got, _ = call(kernel(name), [x], attrs(name), x.shape, isa)
    exact = activate(name, x.astype(np.float64))
    if name in SMOOTH:  # 5e-38: sigmoid stays there below -86; armv7 flushes denormals
        assert np.max(np.abs(got - exact) - (SMOOTH[name] + 0.51) * 2.0**-23 * np.abs(exact)) <= 5e-38
    else:  # cancellation where the factor goes to 0: relative to the operand
        scale = np.maximum(np.minimum(np.abs(x.astype(np.float64)), 1e30), 1.0) if name != "hard_sigmoid" else 1.0
        assert np.max(np.abs(got - exact) / scale) <= 2.0**-22


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("bit", [12, 20, 24, 30, 31])
@pytest.mark.parametrize("name", CHECKED)
def test_flip_that_matters_is_found(name, bit, isa):
    """A flip is effective where it changes the result by more than 1e-4 of its own size and of the input's scale."""
    x = np.linspace(-7, 7, 57, dtype=np.float32)
    clean, _ = call(kernel(name), [x], attrs(name), x.shape, isa)
    flipped = (clean.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)
    with np.errstate(invalid="ignore"):
        change = np.abs(flipped.astype(np.float64) - clean)
    effective = ~(change <= 1e-4 * np.maximum(np.abs(clean), 1))
    found = [call(kernel(name), [x], attrs(name), x.shape, isa, fault=(k, 1 << bit))[1]["flags"] != 0 for k in range(x.size)]
    assert not (effective & ~np.array(found)).any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "hard_swish", "silu", "gelu", "gelu_tanh", "elu"])
def test_non_finite_input_is_reported(name, value, isa):
    x = np.zeros(33, np.float32)
    x[20] = value
    _, info = call(kernel(name), [x], attrs(name), x.shape, isa)
    assert info["flags"]
