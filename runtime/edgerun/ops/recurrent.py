"""LSTM, GRU, RNN: one matmul that projects the inputs of all time steps, then lstm_f32, gru_f32, rnn_f32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, array_of, attributes, constant, elements, get, shape_of
from .registry import Legal, Lowering, legalises, lowers

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_ACTIVATIONS: dict[str, tuple[int, tuple[float, ...]]] = {
    "relu": (1, ()), "leakyrelu": (3, (0.01,)), "sigmoid": (4, ()), "tanh": (5, ()), "hardsigmoid": (6, (0.2, 0.5)),
    "elu": (11, (1.0,)),
}
"""Activation codes of docs/kernels.md, and the defaults of alpha and beta where the function has them."""


@legalises(*_GATES)
def recurrent(legal: Legal) -> Sequence[ir.Value]:
    node, op = legal.node, legal.node.op_type
    x, w, r, bias = legal.required(0), legal.required(1), legal.required(2), legal.input(3)
    require(x, F)
    if array_of(r) is None:
        raise Unsupported("the recurrence weights are not constant")
    directions, rows, hidden = shape_of(r)
    first, width = get(node, "layout", 0), directions * rows
    if shape_of(w) != (directions, rows, shape_of(x)[-1]) or rows % hidden or rows // hidden != _GATES[op]:
        raise Unsupported(f"W {list(shape_of(w))}, R {list(shape_of(r))} and X {list(shape_of(x))} do not fit each other")
    steps, batch, features = (shape_of(x)[k] for k in ((1, 0, 2) if first else (0, 1, 2)))
    reset = bool(get(node, "linear_before_reset", 0)) and op == "GRU"
    total, inner = _biases(legal, bias, rows, hidden, reset)
    flat = array_of(w)
    weights = (
        legal.emit("reshape", [w], (width, features), w.dtype) if flat is None else constant(flat.reshape(width, features), w.name)
    )
    projected = legal.emit("matmul", [x, weights, total, None], (*shape_of(x)[:2], width), x.dtype,
                           {"trans_a": 0, "trans_b": 1, "alpha": 1.0})
    operands = [projected, r, legal.input(4), legal.input(5)]
    operands += [legal.input(6), legal.input(7)] if op == "LSTM" else [inner] if op == "GRU" else []
    y = (batch, steps, directions, hidden) if first else (steps, directions, batch, hidden)
    state = (batch, directions, hidden) if first else (directions, batch, hidden)
    shapes = [(y, x.dtype), *[(state, x.dtype)] * (2 if op == "LSTM" else 1)]
    results = legal.emit_many(op.lower(), operands, shapes, _attributes(node, directions, first))
    return results[: len(node.outputs)]


def _biases(
    legal: Legal, bias: ir.Value | None, rows: int, hidden: int, reset: bool
) -> tuple[ir.Value | None, ir.Value | None]:
    """What is added to the projection; and to the last gate of a GRU before it is reset."""
    if bias is None:
        return None, None
    directions, array = shape_of(bias)[0], array_of(bias)
    if array is not None:
        of_w, of_r = array[:, :rows], array[:, rows:].copy()
        inner = constant(of_r[:, -hidden:].copy()) if reset else None
        if reset:
            of_r[:, -hidden:] = 0
        return constant((of_w + of_r).reshape(-1)), inner
    if reset:
        raise Unsupported("linear_before_reset with biases that are not constant")
    shape = (directions, rows)
    halves = [legal.emit("slice", [bias], shape, bias.dtype, {"starts": [0, at], "steps": [1, 1]}) for at in (0, rows)]
    return legal.emit("reshape", [legal.emit("add", halves, shape, bias.dtype)], (elements(shape),), bias.dtype), None


def _attributes(node: ir.Node, directions: int, first: int) -> dict[str, Any]:
    op = node.op_type
    names = get(node, "activations") or _DEFAULTS[op] * directions
    if len(names) != len(_DEFAULTS[op]) * directions:
        raise Unsupported(f"{len(names)} activations for {directions} directions")
    given = {k: list(get(node, f"activation_{k}", ())) for k in ("alpha", "beta")}
    codes, alphas, betas = [], [], []
    for name in names:
        code, defaults = _ACTIVATIONS.get(name.lower(), (None, ()))
        if code is None:
            raise Unsupported(f"activation {name}")
        values = [given[k].pop(0) if given[k] else default for k, default in zip(("alpha", "beta"), defaults, strict=False)]
        codes.append(code)
        alphas.append(float(values[0]) if values else 0.0)
        betas.append(float(values[1]) if len(values) > 1 else 0.0)
    attrs: dict[str, Any] = {
        "direction": ("forward", "reverse", "bidirectional").index(get(node, "direction", "forward")),
        "batch_first": first, "activations": codes, "act_alpha": alphas, "act_beta": betas,
    }
    clip = get(node, "clip")
    if clip:
        attrs["clip"] = float(clip)
    for option in ("input_forget", "linear_before_reset"):
        if get(node, option):
            attrs[option] = 1
    return attrs


@lowers("lstm", "gru", "rnn")
def lower(node: ir.Node, ctx: Lowering) -> None:
    rows = [shape_of(v) for v in node.inputs[:2] if v is not None]
    macs = elements(rows[0]) * rows[1][2]
    ctx.step(f"{node.op_type}_f32", [ctx.use(v) for v in node.inputs], [ctx.use(v) for v in node.outputs],
             {k: np.ravel(v).tolist() for k, v in attributes(node).items()}, macs)
