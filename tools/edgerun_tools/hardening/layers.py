"""Which check a layer gets: from a node of the model to ABFT of its kind, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx

from edgerun_tools.hardening import affine, conv, conv_filters, integers, matmul, windows
from edgerun_tools.hardening.graph import Graph, attribute, layer
from edgerun_tools.hardening.opset import Dim
from edgerun_tools.hardening.verdict import ONE, Batch, Check, Verdict

KIND = "abft"


@dataclass
class Checker:
    """Adds ABFT to layers; `covered` collects names of the constants that a check has a golden copy of."""

    graph: Graph
    verdict: Verdict
    arithmetic: str
    covered: set[str] = field(default_factory=set)
    members: dict[str, str] = field(default_factory=dict)  # outputs of nodes merged into a layer → that layer

    def check(self, node: onnx.NodeProto) -> str | None:
        """Add the check of a node in OPERATORS; None, or why it stays unchecked."""
        return _RULES[node.op_type](self, node)

    def label(self, node: onnx.NodeProto) -> Check:
        return Check(layer(node), node.op_type, KIND)

    def batch(self, name: str) -> Batch:
        """What tells tensors of equal first dimensions."""
        shape = self.graph.shape(name)
        first: Dim = shape[0] if shape else None
        return ONE if first == 1 else ("value", name) if first is None else (type(first).__name__, first)

    def weight(self, name: str) -> np.ndarray | str:
        """A float32 constant, or why it is none."""
        held = self.graph.constant(name)
        if held is None:
            return "its weights are no constant"
        if held.dtype != np.float32:
            return f"its weights are {held.dtype}: bounds are known for float32 only"
        return held if np.isfinite(held).all() else "its weights are not finite"

    def bias(self, node: onnx.NodeProto, place: int) -> np.ndarray | str | None:
        """An optional float32 constant, or why it is none."""
        if len(node.input) <= place or not node.input[place]:
            return None
        held = self.weight(node.input[place])
        return "its bias is no finite float32 constant" if isinstance(held, str) else held

    def done(self, chain: affine.Affine) -> None:
        """Note that a layer, and what was merged with it, is checked."""
        self.covered.update(chain.constants)
        self.members.update((n.output[0], layer(chain.nodes[0])) for n in chain.nodes[1:])


def _conv(c: Checker, node: onnx.NodeProto) -> str | None:
    weight, bias = c.weight(node.input[1]), c.bias(node, 2)
    if isinstance(weight, str) or isinstance(bias, str):
        return weight if isinstance(weight, str) else str(bias)
    group, x = attribute(node, "group", 1), node.input[0]
    transposed = node.op_type == "ConvTranspose"
    if transposed:  # [C, M/g, taps…] to [M, C/g, taps…]
        parts = weight.reshape(group, len(weight) // group, *weight.shape[1:])
        weight = np.moveaxis(parts, 2, 1).reshape(group * weight.shape[1], len(weight) // group, *weight.shape[2:])
    chain = affine.of(c.graph, node, weight, bias, tuple(n for n in node.input[1:] if n))
    axes = windows.axes_of(node, c.graph.shape(x), c.graph.shape(node.output[0]), weight.shape[2:])
    batch = c.batch(node.output[0])
    if axes is not None:
        conv.check(c.graph, conv.Layer(x, chain, axes, group), c.verdict, c.label(node), batch, c.arithmetic)
    elif transposed:
        return "height or width is not known ahead"
    else:
        conv_filters.check(c.graph, x, chain, group, c.verdict, c.label(node), batch, c.arithmetic)
    c.done(chain)
    return None


def _matmul(c: Checker, node: onnx.NodeProto) -> str | None:
    a, b = node.input
    ranks = [c.graph.rank(n) for n in (a, b)]
    if c.graph.constant(a) is None and c.graph.constant(b) is None:
        return _inputs(c, node)
    weight = c.weight(b)
    if isinstance(weight, str):
        return weight if c.graph.constant(b) is not None else "its constant is the first operand"
    if ranks[1] != 2 or ranks[0] is None or ranks[0] < 2:
        return f"operands of ranks {ranks[0]} and {ranks[1]}: expected a constant of 2 and an input of 2 or more"
    if ranks[0] == 2:
        chain = affine.of(c.graph, node, weight, None, (b,), last=True)
        matmul.check(c.graph, a, chain, c.verdict, c.label(node), c.batch(node.output[0]), c.arithmetic)
    else:
        zeros = np.zeros(weight.shape[1])
        chain = affine.Affine((node,), weight.astype(np.float64), zeros, zeros, (b,))
        matmul.check_rows(c.graph, a, ranks[0], chain, c.verdict, c.label(node), c.arithmetic)
    c.done(chain)
    return None


def _inputs(c: Checker, node: onnx.NodeProto) -> str | None:
    """A product of two tensors that are computed."""
    shapes = [c.graph.shape(n) for n in node.input]
    if any(s is None or len(s) < 2 for s in shapes) or not all(c.graph.is_float(n) for n in node.input):
        return "two computed operands whose shapes are not known"
    a, b = (s or () for s in shapes)
    depth, columns = b[-2:]
    if len(a) != len(b) or a[:-2] != b[:-2] or None in a[:-2] or not isinstance(depth, int) or not isinstance(columns, int):
        return "two computed operands whose shapes are not known ahead, or differ in the batch"
    matmul.check_inputs(c.graph, node, len(a), depth, columns, c.verdict, c.label(node), c.arithmetic)
    return None


def _gemm(c: Checker, node: onnx.NodeProto) -> str | None:
    weight, bias = c.weight(node.input[1]), c.bias(node, 2)
    if isinstance(weight, str) or isinstance(bias, str):
        return weight if isinstance(weight, str) else str(bias)
    scaled = (weight.T if attribute(node, "transB", 0) else weight).astype(np.float64) * attribute(node, "alpha", 1.0)
    if bias is not None and (bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1)):
        return "its bias differs from row to row"
    added = None if bias is None else bias.reshape(-1).astype(np.float64) * attribute(node, "beta", 1.0)
    chain = affine.of(c.graph, node, scaled, added, tuple(n for n in node.input[1:] if n), last=True)
    matmul.check(c.graph, node.input[0], chain, c.verdict, c.label(node), c.batch(node.output[0]), c.arithmetic,
                 bool(attribute(node, "transA", 0)))
    c.done(chain)
    return None


def _integer(c: Checker, node: onnx.NodeProto) -> str | None:
    weight = c.graph.constant(node.input[1])
    zero = c.graph.constant(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros((), np.int32)
    if weight is None or zero is None:
        return "its weights or their zero point are no constants"
    batch = c.batch(node.output[0])
    if node.op_type == "ConvInteger":
        reason = integers.check_conv(c.graph, node, weight, zero, c.verdict, c.label(node), batch)
        if reason is not None:
            return reason
    elif weight.ndim != 2 or c.graph.rank(node.input[0]) != 2:
        return "more than two dimensions"
    else:
        integers.check_matmul(c.graph, node, weight, zero, c.verdict, c.label(node), batch)
    c.covered.update(n for n in (node.input[1], *node.input[3:]) if n)
    return None


_RULES: dict[str, Callable[[Checker, onnx.NodeProto], str | None]] = {
    "Conv": _conv, "ConvInteger": _integer, "ConvTranspose": _conv, "Gemm": _gemm, "MatMul": _matmul, "MatMulInteger": _integer,
}
OPERATORS = frozenset(_RULES)
