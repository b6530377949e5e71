"""MAED: every activation is computed a second way, by an identity (arXiv 2603.18120; relative bounds as in docs/checks.md).

    Relu         y = max(x, 0)                       exact
    Clip         y = max(min(x, hi), lo)             exact
    LeakyRelu    y = max(x, 0) + α·min(x, 0)         4 u·‖y‖₂
    Sigmoid      y(x) + y(−x) = 1                    8 u·‖y(x) + y(−x)‖₂ + approximation
    Tanh         y(x) + y(−x) = 0                    8 u·‖y‖₂ + approximation
    HardSigmoid  y(x) + y(u) = 1 with α·u + β = 1 − (α·x + β)    not used: HardSigmoid is checked by Clip's rule, max(min(α·x + β, 1), 0)
    HardSwish    y(x) − y(−x) = x                    8 u·‖x‖₂
    SiLU         x·σ(x) + x·σ(−x) = x                as Sigmoid, times ‖x‖₂
    Softmax      Σ y = 1 along the axis              (n + 16)·u for n terms

The other evaluation uses other operators, or the other sign, so that no optimiser can take the two for one. Differences are added up in the
1- or 2-norm, which keep NaN. What an identity sees and what not: docs/checks.md; a fault in x satisfies it.

Runtimes approximate the exponential: ONNX Runtime's sigmoid and tanh are rational functions with errors of a few 10⁻⁷; GPUs have
like ones. APPROXIMATION is what one evaluation may be off, as a multiple of u of the function's range, 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from edgerun_tools.hardening.graph import Graph, attribute
from edgerun_tools.hardening.rounding import FLOOR, NORM_SLACK, UNIT
from edgerun_tools.hardening.verdict import ONE, Check, Verdict

APPROXIMATION = 32
"""Units of roundoff between two evaluations of a sigmoid or tanh that should add up."""


def check(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> str | None:
    """Add the identity of an activation; None, or why there is none."""
    graph.after(node)
    rule = _RULES.get(node.op_type)
    return "no identity for this operator" if rule is None else rule(graph, node, rank, verdict, label)


def silu_of(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The Mul that makes a SiLU of a Sigmoid, x·σ(x), where nothing else reads the Sigmoid."""
    reader = graph.only_reader(node.output[0])
    if node.op_type != "Sigmoid" or reader is None or reader.op_type != "Mul" or reader.domain:
        return None
    return reader if sorted(reader.input) == sorted((node.input[0], node.output[0])) else None


def check_silu(graph: Graph, sigmoid: onnx.NodeProto, product: onnx.NodeProto, rank: int, verdict: Verdict,
               label: Check) -> None:
    """x·σ(x) + x·σ(−x) = x, over both nodes."""
    graph.after(product)
    x = sigmoid.input[0]
    other = graph.add("Mul", [x, graph.add("Sigmoid", [graph.add("Neg", [x])])])
    apart = graph.add("Sub", [graph.add("Add", [product.output[0], other]), x])
    _close(graph, apart, x, rank, verdict, label, 8 + 2 * APPROXIMATION)


def _constant(graph: Graph, value: float) -> str:
    return graph.add_constant(np.array(value, np.float32), shared=True)


def _close(graph: Graph, apart: str, reference: str, rank: int, verdict: Verdict, label: Check, units: float) -> None:
    """‖apart‖₂ ≤ units·u·‖reference‖₂, over all elements."""
    left, right = (_number(graph, graph.reduce("ReduceL2", n, None), rank) for n in (apart, reference))
    verdict.bounded(label, ONE, ((left, 2),), np.array([units * UNIT * NORM_SLACK]), np.array([FLOOR]), (right, 2))


def _same(graph: Graph, y: str, again: str, rank: int, verdict: Verdict, label: Check) -> None:
    """Equal to the last bit (but for the sign of zero)."""
    apart = graph.reduce("ReduceL1", graph.add("Sub", [y, again]), None)
    verdict.bounded(label, ONE, ((_number(graph, apart, rank), 2),), np.zeros(1), np.zeros(1))


def _number(graph: Graph, x: str, rank: int) -> str:
    """[1, …, 1] as [1, 1]."""
    return x if rank == 2 else graph.reshape(x, [1, 1])


def _relu(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    _same(graph, node.output[0], graph.add("Max", [node.input[0], _constant(graph, 0.0)]), rank, verdict, label)


def _clip(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    again = node.input[0]
    for op, k in (("Max", 1), ("Min", 2)):
        if len(node.input) > k and node.input[k]:
            again = graph.add(op, [again, node.input[k]])
    _same(graph, node.output[0], again, rank, verdict, label)


def _leaky(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    zero, slope = _constant(graph, 0.0), _constant(graph, attribute(node, "alpha", 0.01))
    x = node.input[0]
    low = graph.add("Mul", [graph.add("Min", [x, zero]), slope])
    apart = graph.add("Sub", [node.output[0], graph.add("Add", [graph.add("Max", [x, zero]), low])])
    _close(graph, apart, node.output[0], rank, verdict, label, 4)


def _sigmoid(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    both = graph.add("Add", [node.output[0], graph.add("Sigmoid", [graph.add("Neg", [node.input[0]])])])
    _close(graph, graph.add("Sub", [both, _constant(graph, 1.0)]), both, rank, verdict, label, 8 + 2 * APPROXIMATION)


def _hard_sigmoid(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    scaled = graph.add("Mul", [node.input[0], _constant(graph, attribute(node, "alpha", 0.2))])
    line = graph.add("Add", [scaled, _constant(graph, attribute(node, "beta", 0.5))])
    again = graph.add("Max", [graph.add("Min", [line, _constant(graph, 1.0)]), _constant(graph, 0.0)])
    # α·x and β are rounded on the way, near 0 and 1 at most: relative to ‖y + 1‖
    above = graph.add("Add", [again, _constant(graph, 1.0)])
    _close(graph, graph.add("Sub", [node.output[0], again]), above, rank, verdict, label, 8 * (1 + abs(attribute(node, "beta", 0.5))))


def _tanh(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    both = graph.add("Add", [node.output[0], graph.add("Tanh", [graph.add("Neg", [node.input[0]])])])
    _close(graph, both, node.output[0], rank, verdict, label, 8 + 2 * APPROXIMATION)


def _hard_swish(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> None:
    x = node.input[0]
    apart = graph.add("Sub", [node.output[0], graph.add("HardSwish", [graph.add("Neg", [x])])])
    _close(graph, graph.add("Sub", [apart, x]), x, rank, verdict, label, 8)


def _softmax(graph: Graph, node: onnx.NodeProto, rank: int, verdict: Verdict, label: Check) -> str | None:
    shape, axis = graph.shape(node.output[0]), attribute(node, "axis", -1)
    terms = None if shape is None else shape[axis]
    if not isinstance(terms, int):
        return "Softmax over a dimension of unknown size"
    sums = graph.reduce("ReduceSum", node.output[0], [axis % rank])
    _close(graph, graph.add("Sub", [sums, _constant(graph, 1.0)]), sums, rank, verdict, label, 2 * terms + APPROXIMATION)
    return None


_RULES: dict[str, Callable[[Graph, onnx.NodeProto, int, Verdict, Check], str | None]] = {
    "Clip": _clip, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish, "LeakyRelu": _leaky, "Relu": _relu, "Sigmoid": _sigmoid,
    "Softmax": _softmax, "Tanh": _tanh,
}
OPERATORS = frozenset(_RULES)
