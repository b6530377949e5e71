"""Attribute `paper`: MAED's published identities, the same verdicts in C++ and Python, with their known false alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_case import each_isa, native

from edgerun_kernels import paper
from edgerun_kernels.checks import IDENTITY, Sink
from edgerun_kernels.registry import KERNELS

PAPER = {"paper": (1,)}
NAMES = ["relu_f32", "sigmoid_f32", "tanh_f32", "exp_f32"]


def by_python(name: str, x: np.ndarray, y: np.ndarray) -> Sink:
    """The verdict of the Python definition on y = f(x)."""
    sink = Sink()
    paper.check_published(sink, name.removesuffix("_f32"), x, y)
    return sink


def by_native(name: str, x: np.ndarray, isa: str, fault: tuple[int, int] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    y = np.empty_like(x)
    return y, native.call(name, [x], PAPER, [y], checks=True, isa=isa, fault=fault)


@each_isa
@pytest.mark.parametrize("value", [0.0, -0.0, 0.3, -0.9, 1.0, 2.5, -4.0, 7.0, 9.99, 10.0, 10.5, -10.5, 50.0, -200.0, np.inf, -np.inf,
                                   np.nan, 1e-40])
@pytest.mark.parametrize("name", NAMES)
def test_native_and_python_agree(name, value, isa):
    x = np.full(1, value, np.float32)
    y, found = by_native(name, x, isa)
    want = by_python(name, x, y)
    assert (found["flags"], found["checked"], found["first_index"]) == (want.flags, 1, want.first_index)
    np.testing.assert_array_equal(np.float32([found["got"], found["expected"]]), np.float32([want.got, want.expected]))


@each_isa
@pytest.mark.parametrize("name", NAMES)
def test_the_index_is_that_of_the_first_violation(name, isa):
    x = np.linspace(-0.5, 0.5, 5001, dtype=np.float32)  # more than a block
    _, found = by_native(name, x, isa, (4099, 1 << 31))
    assert (found["flags"], found["checked"], found["first_index"]) == (IDENTITY, x.size, 4099)


@each_isa
@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_the_usual_mode_also_in_place(name, isa):
    x = np.linspace(-6, 6, 9001, dtype=np.float32)
    usual, in_place = np.empty_like(x), x.copy()
    native.call(name, [x], {}, [usual], checks=True, isa=isa)
    separate, found = by_native(name, x, isa)
    again = native.call(name, [in_place], PAPER, [in_place], checks=True, isa=isa)
    np.testing.assert_array_equal(separate.view(np.uint32), usual.view(np.uint32))
    np.testing.assert_array_equal(in_place.view(np.uint32), usual.view(np.uint32))
    assert again == found


@pytest.mark.parametrize("name", NAMES)
def test_python_kernels_take_the_attribute_also_in_place(name):
    x = np.linspace(-0.9, 0.9, 101, dtype=np.float32)
    y, faulty, buffer = np.empty_like(x), Sink(fault=(50, 1 << 30)), x.copy()
    KERNELS[name]([x], PAPER, [y], faulty)
    clean = Sink()
    KERNELS[name]([buffer], PAPER, [buffer], clean)
    assert (faulty.flags, faulty.first_index) == (IDENTITY if name != "relu_f32" else 0, 50 if name != "relu_f32" else -1)
    assert (clean.flags, clean.checked) == (0, x.size)


@each_isa
def test_idempotence_of_relu_misses_what_ours_finds(isa):
    """A positive result that is skipped to 0 is its own relu."""
    x = np.full(8, 0.7, np.float32)
    fault = (3, int(np.float32(0.7).view(np.uint32)))
    y, published = by_native("relu_f32", x, isa, fault)
    ours = native.call("relu_f32", [x], {}, [np.empty_like(x)], checks=True, isa=isa, fault=fault)
    assert (y[3], published["flags"], ours["flags"]) == (0, 0, IDENTITY)


@each_isa
@pytest.mark.parametrize("name", ["sigmoid_f32", "tanh_f32"])
def test_published_identities_alarm_on_clean_results_where_ours_do_not(name, isa):
    x = np.linspace(4, 5, 64, dtype=np.float32)
    _, published = by_native(name, x, isa)
    ours = native.call(name, [x], {}, [np.empty_like(x)], checks=True, isa=isa)
    assert (published["flags"], ours["flags"]) == (IDENTITY, 0)


@each_isa
def test_kernels_without_a_published_identity_refuse_the_attribute(isa):
    with pytest.raises(ValueError, match="bad_attribute"):
        by_native("silu_f32", np.zeros(4, np.float32), isa)


@pytest.mark.parametrize("x", [-2.5, 0.1, 3.0])
def test_the_sums_are_those_of_the_exponential(x):
    plus, minus = paper.sums(np.float64([x]))
    np.testing.assert_allclose([plus[0], minus[0]], np.exp([x, -x]), rtol=1e-12)
