"""lstm_f32, gru_f32, rnn_f32: the part of a recurrent layer that follows the projection of its inputs, xw = W x + biases.

xw[T,N,D·G·H] r[D,G·H,H] lengths[N]? h0? … → y[T,D,N,H] y_h[D,N,H] …; with batch_first xw[N,T,…], y[N,T,D,H], states
[N,D,H]. What lies beyond a sequence's length is 0 in y. Checks: y is finite. Formulas: docs/kernels.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgerun_kernels.checks import Sink, check_finite
from edgerun_kernels.jit.activation import activate
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, ints, number, operand, optional

Squash = Callable[[int, Array], Array]
Cell = Callable[[Array, Array, "list[Array]", "Array | None", bool, Squash], "list[Array]"]


def _lstm(x: Array, r: Array, state: list[Array], peep: Array | None, forget: bool, act: Squash) -> list[Array]:
    h, c = state
    i, o, f, g = np.split(x + h @ r.T, 4, axis=1)
    pi, po, pf = np.split(peep, 3) if peep is not None else (0, 0, 0)
    i = act(0, i + pi * c)
    f = 1 - i if forget else act(0, f + pf * c)
    c = f * c + i * act(1, g)
    return [act(0, o + po * c) * act(2, c), c]


def _gru(x: Array, r: Array, state: list[Array], bias: Array | None, before: bool, act: Squash) -> list[Array]:
    h, n = state[0], r.shape[1]
    z, q = np.split(act(0, x[:, : 2 * n] + h @ r[: 2 * n].T), 2, axis=1)
    if before:
        g = q * (h @ r[2 * n :].T + (bias if bias is not None else 0))
    else:
        g = (q * h) @ r[2 * n :].T
    return [(1 - z) * act(1, x[:, 2 * n :] + g) + z * h]


def _rnn(x: Array, r: Array, state: list[Array], extra: Array | None, option: bool, act: Squash) -> list[Array]:
    return [act(0, x + state[0] @ r.T)]


def _run(
    cell: Cell, acts: int, states: int, name: str, inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None
) -> None:
    x, r, lengths = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    first, way = integer(attrs, "batch_first"), integer(attrs, "direction")
    extra, option = optional(inputs, 3 + states), bool(integer(attrs, name))
    limit = number(attrs, "clip", float("inf"))
    codes, alpha, beta = ints(attrs, "activations"), attrs["act_alpha"], attrs["act_beta"]
    swap = (1, 0, 2) if first else (0, 1, 2)
    x, y = x.transpose(swap), outputs[0].transpose((1, 2, 0, 3) if first else (0, 1, 2, 3))
    ends = [s.transpose(swap) for s in outputs[1:]]
    begins = [None if s is None else s.transpose(swap) for s in (optional(inputs, 3 + k) for k in range(states))]
    steps, batch = x.shape[:2]
    each = np.arange(batch)
    length = np.full(batch, steps) if lengths is None else np.clip(lengths, 0, steps)
    y[...] = 0
    with np.errstate(all="ignore"):
        for d, weights in enumerate(r):
            def act(k: int, v: Array, d: int = d) -> Array:
                k += acts * d
                if k % acts < 2:  # not the cell state of an LSTM
                    v = np.clip(v, -limit, limit)
                return activate(codes[k], np.asarray(v, np.float32), np.float32(alpha[k]), np.float32(beta[k]))

            rows = slice(d * weights.shape[0], (d + 1) * weights.shape[0])
            state = [np.zeros((batch, r.shape[2]), np.float32) if s is None else s[d].copy() for s in begins]
            own = None if extra is None else extra.reshape(len(r), -1)[d]
            for t in range(steps):
                active = each[t < length]
                time = (length - 1 - t if way == 1 or d else np.full(batch, t))[active]
                following = cell(x[time, active, rows], weights, [s[active] for s in state], own, option, act)
                for s, new in zip(state, following, strict=True):
                    s[active] = new
                y[time, d, active] = state[0][active]
            for end, s in zip(ends, state, strict=True):
                end[d] = s
    if sink is not None:
        sink.inject(outputs[0])
        check_finite(sink, outputs[0])


KERNELS: dict[str, Kernel] = {
    "lstm_f32": partial(_run, _lstm, 3, 2, "input_forget"),
    "gru_f32": partial(_run, _gru, 2, 1, "linear_before_reset"),
    "rnn_f32": partial(_run, _rnn, 1, 1, ""),
}
