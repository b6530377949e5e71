"""Checksums of the float products as the Python kernels take them: silent whatever the data are, and not when a sum is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from test_checksum import PRODUCTS

from edgerun_kernels.checks import CHECKSUM, Sink
from edgerun_kernels.registry import KERNELS

DATA = {
    "noise": lambda rng, shape: rng.normal(size=shape),
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "zeros": lambda rng, shape: np.zeros(shape),
    "denormal": lambda rng, shape: rng.normal(size=shape) * 1e-39,
    "large": lambda rng, shape: rng.normal(size=shape) * 1e15,
    "spread": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-15, 15, shape),
    "overflowing": lambda rng, shape: rng.normal(size=shape) * 1e30,
}


def run(p, kind: str, sink: Sink) -> np.ndarray:
    rng = np.random.default_rng(3)
    x, w, bias = (DATA[kind](rng, shape).astype(np.float32) for shape in (p.x, p.w, (p.columns,)))
    y = np.empty(p.shape, np.float32)
    KERNELS[p.kind]([x, w, bias], {**p.attrs, "abft": (1,)}, [y], sink)
    return y


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("p", PRODUCTS, ids=str)
def test_clean_sums_are_silent(p, kind):
    sink = Sink()
    run(p, kind, sink)
    assert not sink.flags & CHECKSUM, (sink.got, sink.expected, sink.bound)


@pytest.mark.parametrize("at", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("p", PRODUCTS, ids=str)
def test_a_wrong_sum_is_told_with_its_column(p, at):
    clean = run(p, "noise", Sink())
    group = p.attrs.get("group", (1,))[0]
    columns = p.columns // group  # the first group's sums lie side by side
    index = int(at * (clean.size // group - 1))
    sink = Sink(fault=(index, 1 << 28), site="accumulator")
    struck = run(p, "noise", sink)
    assert sink.injected and sink.flags & CHECKSUM
    assert sink.first_index == index % columns
    assert abs(sink.got - sink.expected) > sink.bound > 0
    assert (struck != clean).sum() == 1
