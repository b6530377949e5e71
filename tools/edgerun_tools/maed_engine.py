"""Faults in the result of activations: the real engine (`arm_fault`), and the two ways of checking ReLU side by side.

A fault is the difference between the float32 word that the kernel gives and the word that a fault model makes of it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgerun import planner
from edgerun.errors import EdgeRunWarning
from edgerun.executors.engine import EngineExecutor
from edgerun.importer.load import load
from edgerun_tools.maed_words import BITS, MODELS, WHOLE, corrupt
from edgerun_tools.rates import Rate

Array = np.ndarray[Any, Any]

EPS = 2.0**-23
POOL = 50
"""Different inputs that the trials of one cell go through."""
ROWS, COLUMNS = 16, 256


@dataclass(frozen=True)
class Activation:
    """A one-node model: its operator, attributes, and how far a result y of x may be off before our check must say so."""

    op: str
    bound: str
    attrs: dict[str, Any]


ACTIVATIONS = (
    Activation("Relu", "exact", {}), Activation("Clip", "exact", {}), Activation("LeakyRelu", "rounding", {"alpha": 0.1}),
    Activation("Sigmoid", "result", {}), Activation("Tanh", "result", {}), Activation("HardSigmoid", "one", {}),
    Activation("HardSwish", "operand", {}), Activation("SiLU", "result", {}), Activation("Gelu", "operand", {}),
    Activation("Gelu tanh", "operand", {"approximate": "tanh"}), Activation("Elu", "result", {}), Activation("Exp", "result", {}),
    Activation("Erf", "result", {}), Activation("Softmax", "sum", {"axis": -1}), Activation("LogSoftmax", "log sum", {"axis": -1}),
)
PUBLISHED = ("Relu", "Sigmoid", "Tanh", "Exp")


def beyond(bound: str, x: Array, y: Array, faulty: Array) -> Array:
    """Which results are further off than the bounds of docs/checks.md allow (float64 copies); NaN and infinities are."""
    if bound == "log sum":
        return ~(np.abs(np.exp(faulty) - np.exp(y)) <= 64 * EPS)
    allowed = {"exact": 0.0, "rounding": EPS * np.abs(y), "result": 16 * EPS * np.abs(y), "operand": 16 * EPS * np.abs(x),
               "one": 12 * EPS, "sum": 64 * EPS}[bound]
    return ~(np.abs(faulty - y) <= allowed)


def executor(a: Activation, shape: tuple[int, ...], checks: str) -> EngineExecutor:
    """One thread of the engine with the model of one activation."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy")
    constants = []
    op, inputs = a.op.split()[0], ["x"]
    if op == "Clip":
        constants = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("lo", 0.0), ("hi", 6.0))]
        inputs += ["lo", "hi"]
    if op == "SiLU":
        nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    else:
        nodes = [helper.make_node(op, inputs, ["y"], **a.attrs)]
    graph = helper.make_graph(nodes, op, [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EdgeRunWarning)
        return EngineExecutor(planner.make_plan(load(model.SerializeToString()), checks=checks), threads=1)


@dataclass(frozen=True)
class Struck:
    """Of every trial: whether the word changed its value, whether by more than the bound, whether there was a finding."""

    changed: Array
    beyond: Array
    found: Array


def engine_trials(a: Activation, model: str, trials: int, rng: np.random.Generator, *, width: int, single: bool = False,
                  checks: str = "maed") -> Struck:
    """`trials` runs with one fault each. Inputs are normal (sigma 2) tensors of 4,096 values; single: one value in ±3.

    width: the low bits that may be struck, 23 (mantissa) or 32. A model with bits takes 2 or 5 of them by turns.
    """
    shape = (1,) if single else (ROWS, COLUMNS)
    run = executor(a, shape, checks)
    pool = [np.asarray(rng.uniform(-3, 3, shape) if single else rng.standard_normal(shape) * 2, np.float32)
            for _ in range(trials if single else POOL)]
    pick = rng.integers(0, int(np.prod(shape)), trials)
    clean = [run.run([x]).outputs[0] for x in pool]
    xs, ys = (np.array([np.asarray(v[t % len(v)]).reshape(-1)[k] for t, k in enumerate(pick)], np.float32) for v in (pool, clean))
    faulty = np.empty_like(ys)
    for turn, bits in enumerate(BITS):
        part = slice(turn, None, len(BITS))
        faulty[part] = corrupt(ys[part], model, 0 if model in WHOLE else bits, rng, width=width)
    masks = ys.view(np.uint32) ^ faulty.view(np.uint32)
    found = np.zeros(trials, bool)
    for t, (k, mask) in enumerate(zip(pick.tolist(), masks.tolist(), strict=True)):
        if mask:  # else the fault left the word as it was
            run.arm_fault(0, k, mask)
        found[t] = bool(run.run([pool[t % len(pool)]]).findings)
    run.close()
    with np.errstate(all="ignore"):
        far = beyond(a.bound, *(v.astype(np.float64) for v in (xs, ys, faulty)))
    return Struck(~(faulty == ys), far, found)


def false_alarms(a: Activation, trials: int, rng: np.random.Generator, checks: str, spread: float) -> Rate:
    """Clean runs of one value, uniform in ±spread, that had a finding."""
    run = executor(a, (1,), checks)
    xs = rng.uniform(-spread, spread, (trials, 1)).astype(np.float32)
    hits = sum(bool(run.run([x]).findings) for x in xs)
    run.close()
    return Rate(hits, trials)


RELU_FAULTS = ("one bit flipped", "one bit stuck at 1", "one bit stuck at 0", "skipped: y = 0", "clamp skipped: y = x")


@dataclass(frozen=True)
class ReluRow:
    """One fault on the result of relu: share masked, and found of the rest by either check."""

    fault: str
    masked: Rate
    idempotence: Rate
    ours: Rate


def relu_rows(trials: int, rng: np.random.Generator, effect: float = 1e-6) -> list[ReluRow]:
    """y = relu(x), x normal, one fault on the 32-bit word of y. A change of at most `effect` counts as masked."""
    rows = []
    for fault in RELU_FAULTS:
        x = rng.standard_normal(trials).astype(np.float32)
        clean = np.maximum(x, np.float32(0))
        if fault == "clamp skipped: y = x":
            y = x
        elif fault == "skipped: y = 0":
            y = np.zeros_like(x)
        else:
            y = corrupt(clean, {"flipped": "flip", "1": "stuck-at-1", "0": "stuck-at-0"}[fault.split()[-1]], 1, rng, width=32)
        with np.errstate(all="ignore"):
            effective = ~(np.abs(y.astype(np.float64) - clean) <= effect)
            idempotent = np.where(y < 0, np.float32(0), y) == y
            sound = (y >= 0) & (y + np.minimum(x, np.float32(0)) == x)
        rows.append(ReluRow(fault, Rate.count(~effective), Rate.count(~idempotent, effective), Rate.count(~sound, effective)))
    return rows


__all__ = ["ACTIVATIONS", "MODELS", "PUBLISHED", "Activation", "ReluRow", "Struck", "beyond", "engine_trials", "executor", "false_alarms",
           "relu_rows"]
