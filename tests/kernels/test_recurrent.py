"""LSTM, GRU, RNN: against the Python kernels, around the vector widths, with every optional operand."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_case import EPS, call, close, each_isa, native

from edgerun_kernels.registry import KERNELS

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
ACTS = {"lstm": (4, 5, 5), "gru": (4, 5), "rnn": (5,)}
OPTION = {"lstm": "input_forget", "gru": "linear_before_reset", "rnn": ""}
each_op = pytest.mark.parametrize("op", GATES)


def case(op, steps, batch, hidden, *, direction=0, first=0, option=0, full=True, lengths=None, seed=0):
    """Operands, attributes and output shapes; `full`: with every optional operand."""
    rng = np.random.default_rng(seed)
    ways, gates = (2 if direction == 2 else 1), GATES[op]

    def values(*shape):
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    state = (batch, ways, hidden) if first else (ways, batch, hidden)
    outer = (batch, steps) if first else (steps, batch)
    x, r = values(*outer, ways * gates * hidden), values(ways, gates * hidden, hidden)
    extra = {"lstm": [values(*state), values(ways, 3 * hidden)], "gru": [values(ways, hidden)], "rnn": []}[op]
    if not full or (op == "gru" and not option):
        extra = [None] * len(extra)
    inputs = [x, r, lengths, values(*state) if full else None, *extra]
    attrs = {"direction": (direction,), "batch_first": (first,), "activations": ACTS[op] * ways,
             "act_alpha": (0.0,) * len(ACTS[op]) * ways, "act_beta": (0.0,) * len(ACTS[op]) * ways}
    if option:
        attrs[OPTION[op]] = (1,)
    y = (batch, steps, ways, hidden) if first else (steps, ways, batch, hidden)
    return inputs, attrs, [y, *[state] * (2 if op == "lstm" else 1)]


def by_python(op, inputs, attrs, shapes):
    outputs = [np.zeros(s, np.float32) for s in shapes]
    KERNELS[f"{op}_f32"](inputs, attrs, outputs, None)
    return outputs


def compare(op, isa, inputs, attrs, shapes, **options):
    got, seen = call(f"{op}_f32", inputs, attrs, shapes, np.float32, isa, constants=[1], **options)
    for k, (a, b) in enumerate(zip(got, by_python(op, inputs, attrs, shapes), strict=True)):
        close(a, b, 64 * EPS * np.maximum(1, np.abs(b)), f"{op} output {k}")
    return got, seen


@each_isa
@each_op
@pytest.mark.parametrize("hidden", [1, 3, 4, 5, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("full", [False, True])
def test_hidden_units_around_the_vector_widths(isa, op, hidden, full):
    compare(op, isa, *case(op, 3, 2, hidden, full=full))


@each_isa
@each_op
@pytest.mark.parametrize("direction", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("option", [0, 1])
def test_directions_layouts_and_options(isa, op, direction, first, option):
    if option and not OPTION[op]:
        pytest.skip("an RNN has no option")
    compare(op, isa, *case(op, 4, 3, 6, direction=direction, first=first, option=option))


@each_isa
@each_op
@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (1, 1), (2, 0)])
def test_empty_sequences_and_batches(isa, op, steps, batch):
    inputs, attrs, shapes = case(op, steps, batch, 5)
    got, _ = compare(op, isa, inputs, attrs, shapes)
    if steps == 0:
        np.testing.assert_array_equal(got[1], inputs[3])


@each_isa
@each_op
@pytest.mark.parametrize("direction", [0, 1, 2])
def test_lengths_beyond_which_the_output_is_zero(isa, op, direction):
    lengths = np.array([5, 2, 0], np.int32)
    got, _ = compare(op, isa, *case(op, 5, 3, 6, direction=direction, lengths=lengths))
    assert not got[0][2:, :, 1].any() and not got[0][:, :, 2].any() and got[0][1, :, 1].all()


@each_isa
@each_op
def test_clip_and_other_activations(isa, op):
    inputs, attrs, shapes = case(op, 4, 2, 7)
    count = len(attrs["activations"])
    attrs |= {"clip": (0.25,), "activations": (6, 1, 3)[:count], "act_alpha": (0.2, 0.0, 0.1)[:count],
              "act_beta": (0.5, 0.0, 0.0)[:count]}
    compare(op, isa, inputs, attrs, shapes)


@each_isa
@each_op
def test_nan_stays_in_its_sequence_and_is_found(isa, op):
    inputs, attrs, shapes = case(op, 3, 2, 5)
    inputs[0][1, 0, :] = np.nan
    got, seen = call(f"{op}_f32", inputs, attrs, shapes, np.float32, isa, constants=[1], checks=True)
    assert np.isnan(got[0][1:, :, 0]).all() and np.isfinite(got[0][0]).all() and np.isfinite(got[0][:, :, 1]).all()
    assert (seen["flags"], seen["checked"], seen["first_index"]) == (2, got[0].size, 10)


@each_isa
@each_op
def test_a_fault_that_makes_a_result_infinite_is_found(isa, op):
    inputs, attrs, shapes = case(op, 3, 2, 5)
    clean, _ = compare(op, isa, inputs, attrs, shapes)
    mask = 0x7F800000 & ~int(clean[0].reshape(-1)[17:18].view(np.uint32)[0])
    got, seen = call(f"{op}_f32", inputs, attrs, shapes, np.float32, isa, constants=[1], checks=True, fault=(17, mask))
    assert seen["flags"] == 2 and list(np.flatnonzero(got[0] != clean[0])) == [17]


def test_recurrence_weights_have_to_be_constant():
    inputs, attrs, shapes = case("lstm", 1, 1, 4)
    with pytest.raises(ValueError, match="not_constant"):
        native.call("lstm_f32", inputs, attrs, [np.zeros(s, np.float32) for s in shapes])
