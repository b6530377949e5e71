"""Checks of exp, erf and log_softmax: silent on every float32, loud on a flip that matters; C++ and Python alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_case import LENGTHS, each_isa, native

from edgerun_kernels.checks import IDENTITY, NON_FINITE, Sink
from edgerun_kernels.registry import KERNELS

FUNCTIONS = {"exp_f32": np.exp, "erf_f32": np.vectorize(math.erf, otypes=[np.float64])}
SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1.17549435e-38, 1e30, -1e30, 3.4028235e38, -3.4028235e38, np.inf, -np.inf, np.nan, 88.72,
                    88.7228, 88.72284, 88.73, 89.0, 100.0, -87.3, -87.34, -103.97, -104.0, -110.0, 4.0, -4.0, 1.0, -1.0], np.float32)


def every_kind() -> np.ndarray:
    """A million words over the whole range of float32 (infinities and NaN among them), values around 0 and the ends of the range."""
    bits = (np.arange(1 << 20, dtype=np.uint64) * 4093).astype(np.uint32).view(np.float32)
    edges = np.concatenate([(SPECIAL.view(np.uint32) + np.uint32(k)).view(np.float32) for k in (-1 % 2**32, 1)])
    return np.concatenate([bits, np.linspace(-110, 110, 100_003, dtype=np.float32), SPECIAL, edges])


def seen(name: str, x: np.ndarray, attrs: dict[str, Any], isa: str, fault: tuple[int, int] | None = None) -> tuple[np.ndarray, dict]:
    """One call with checks; isa "python" is the Python kernel."""
    y = np.empty_like(x)
    if isa != "python":
        return y, native.call(name, [x], attrs, [y], checks=True, isa=isa, fault=fault)
    sink = Sink(fault=fault)
    KERNELS[name]([x], attrs, [y], sink)
    return y, {"checked": sink.checked, "flags": sink.flags, "first_index": sink.first_index}


everywhere = pytest.mark.parametrize("isa", [*native.isas(), "python"])


@everywhere
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_false_alarm_on_any_float32(name, isa):
    x = every_kind()
    _, found = seen(name, x, {}, isa)
    assert (found["flags"], found["checked"]) == (0, x.size)


@everywhere
@pytest.mark.parametrize("bit", [12, 20, 24, 30, 31])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_flip_that_matters_is_found(name, bit, isa):
    x = np.linspace(-20, 20, 41, dtype=np.float32)
    clean = seen(name, x, {}, isa)[0]
    flipped = (clean.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)
    effective = ~(np.abs(flipped.astype(np.float64) - clean) <= 1e-4 * np.abs(clean) + 1e-30)  # erf 0 is 0
    found = [seen(name, x, {}, isa, (k, 1 << bit))[1] for k in range(x.size)]
    assert effective.any()
    assert all(f["flags"] == IDENTITY for f, e in zip(found, effective, strict=True) if e)


@each_isa
@pytest.mark.parametrize("x", [100.0, np.inf, np.nan, -np.inf])
def test_a_fault_in_a_special_result_is_found(x, isa):
    """e^x is infinity, NaN or 0 here; the flip makes a number of it, or 2 of the 0."""
    operand = np.full(9, x, np.float32)
    bits = seen("exp_f32", operand, {}, isa)[0].view(np.uint32)[4]
    _, found = seen("exp_f32", operand, {}, isa, (4, int(bits ^ np.float32(2.0).view(np.uint32))))
    assert found["flags"] & IDENTITY


@each_isa
@pytest.mark.parametrize("size", [n for n in LENGTHS if n])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_checked_and_unchecked_give_the_same_bits(name, size, isa):
    x = np.linspace(-3, 3, size, dtype=np.float32)
    y = np.empty_like(x)
    native.call(name, [x], {}, [y], checks=False, isa=isa)
    np.testing.assert_array_equal(seen(name, x, {}, isa)[0].view(np.uint32), y.view(np.uint32))


SHAPES = [((3, 2), 1), ((50, 4), 1), ((7, 1000), 1), ((3, 70, 5), 1), ((2, 9, 40), 1), ((5, 33), 0)]


@everywhere
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e30])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_log_softmax_raises_no_false_alarm(shape, axis, scale, isa):
    x = (np.random.default_rng(0).standard_normal(shape) * scale).astype(np.float32)
    _, found = seen("log_softmax_f32", x, {"axis": (axis,)}, isa)
    assert (found["flags"], found["checked"]) == (0, x.size)


@everywhere
@pytest.mark.parametrize("length", [1, 1 << 20])
def test_a_long_row_of_equal_values_raises_no_false_alarm(length, isa):
    _, found = seen("log_softmax_f32", np.full((1, length), 3.3, np.float32), {"axis": (1,)}, isa)
    assert found["flags"] == 0


@everywhere
@pytest.mark.parametrize("bit", [18, 22, 23])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_a_flip_of_the_best_class_of_log_softmax_is_found(shape, axis, bit, isa):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32) * 3
    index = int(np.argmax(x))
    _, found = seen("log_softmax_f32", x, {"axis": (axis,)}, isa, (index, 1 << bit))
    where = list(np.unravel_index(index, shape))
    where[axis] = 0
    assert (found["flags"], found["first_index"]) == (IDENTITY, int(np.ravel_multi_index(where, shape)))


@everywhere
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_a_row_of_log_softmax_that_is_not_finite_is_found(shape, axis, value, isa):
    x = np.zeros(shape, np.float32)
    x.reshape(-1)[x.size // 2] = value
    assert seen("log_softmax_f32", x, {"axis": (axis,)}, isa)[1]["flags"] & NON_FINITE
