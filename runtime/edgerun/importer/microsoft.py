"""ONNX Runtime's quantised operators (domain com.microsoft) in standard ONNX: dequantised, the float operator, quantised.

Source: docs/ContribOperators.md of ONNX Runtime. Happens before anything else reads the model's operators; what is not listed
in `_RULES` stays, and is refused like every operator that ONNX does not define. Results keep their names; new tensors are
called after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgerun.errors import ModelFormatError, UnsupportedOpError
from edgerun.limits import short

DOMAIN = "com.microsoft"
_MOST_DEPTH = 32
_MOST_TENSORS = 4096
_PLAIN = frozenset(onnx.AttributeProto.AttributeType.Value(name) for name in ("INT", "INTS", "FLOAT", "STRING"))
_PER_AXIS = 13
"""First opset in which QuantizeLinear and Softmax take an axis."""


def standard(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model without these operators: itself where it has none, else a copy. Raises ModelFormatError for operands that
    are absent, UnsupportedOpError for forms that ONNX cannot express."""
    opsets = {o.domain: o.version for o in proto.opset_import}
    functions = {(f.domain, f.name) for f in proto.functions}
    if DOMAIN not in opsets or not any(_is_ours(n, functions) for n in _nodes(proto.graph, 0)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _Rewrite(name, opsets.get("", opsets.get("ai.onnx", 0)), functions).graph(copy.graph, 0)
    return copy


def _is_ours(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> bool:
    return node.domain == DOMAIN and node.op_type in _RULES and (DOMAIN, node.op_type) not in functions


def _nodes(graph: onnx.GraphProto, depth: int) -> Iterable[onnx.NodeProto]:
    """Nodes, and those of graphs within them; what is nested deeper than models are is left to be refused later."""
    for node in graph.node:
        yield node
        for a in node.attribute:
            if a.HasField("g") and depth < _MOST_DEPTH:
                yield from _nodes(a.g, depth + 1)


class _Rewrite:
    def __init__(self, name: str, opset: int, functions: set[tuple[str, str]]) -> None:
        self.name, self.opset, self.functions = name, opset, functions
        self.taken: set[str] = set()
        self.types: dict[str, int] = {}

    def graph(self, graph: onnx.GraphProto, depth: int) -> None:
        self.types |= {t.name: t.data_type for t in graph.initializer}
        self.types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info)}
        self.taken |= {*self.types, *(o for n in graph.node for o in n.output)}
        done: list[onnx.NodeProto] = []
        for node in graph.node:
            for a in node.attribute:
                if a.HasField("g") and depth < _MOST_DEPTH:
                    self.graph(a.g, depth + 1)
            if _is_ours(node, self.functions):
                done += _Node(self, node).result()
            else:
                done.append(node)
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in done]
        del graph.node[:]
        graph.node.extend(kept)

    def fresh(self, text: str) -> str:
        name, k = text, 1
        while name in self.taken:
            name, k = f"{text}_{k}", k + 1
        self.taken.add(name)
        return name


class _Node:
    """One node, and the standard nodes that stand for it."""

    def __init__(self, rewrite: _Rewrite, node: onnx.NodeProto) -> None:
        self.rewrite, self.node = rewrite, node
        self.where = f"{rewrite.name}: node '{short(node.name)}' ({short(node.op_type)})"
        texts = (node.name, *node.input, *node.output, *(a.name for a in node.attribute))
        if any(isinstance(text, bytes) for text in texts):  # what protobuf could not decode
            raise ModelFormatError(f"{self.where}: expected names in UTF-8, found other bytes")
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in _PLAIN and not a.ref_attr_name}
        self.made: list[onnx.NodeProto] = []
        self.base = short(node.output[0] if node.output else node.name)

    def result(self) -> list[onnx.NodeProto]:
        if len(self.node.output) != 1 or not self.node.output[0]:
            raise ModelFormatError(f"{self.where}: expected one output, found {len(self.node.output)}")
        _RULES[self.node.op_type](self)
        return self.made

    def input(self, index: int) -> str:
        """Name of an operand, "" where it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def required(self, index: int, what: str) -> str:
        name = self.input(index)
        if not name:
            raise ModelFormatError(f"{self.where}: input {index} ({what}): expected an operand, found none")
        return name

    def attribute(self, name: str, kind: type, default: Any) -> Any:
        value = self.attributes.get(name, default)
        if not isinstance(value, kind):
            raise ModelFormatError(f"{self.where}: {name}: expected {kind.__name__}, found {type(value).__name__}")
        return value

    def emit(self, op: str, inputs: Sequence[str], what: str = "", output: str = "", **attributes: Any) -> str:
        """Append a standard node; returns the name of its result."""
        output = output or self.rewrite.fresh(f"{self.base}/{what or op}")
        kept = {k: v for k, v in attributes.items() if v is not None}
        self.made.append(helper.make_node(op, inputs, [output], self.node.name if output in self.node.output else "", **kept))
        return output

    def constant(self, array: np.ndarray, what: str) -> str:
        return self.emit("Constant", [], what, value=numpy_helper.from_array(array))

    def enter(self, index: int, what: str, axis: int | None = None) -> str:
        """Inputs index … index + 2 (tensor, scale, zero point) as a float tensor."""
        operands = [self.required(index, what), self.required(index + 1, f"scale of {what}"), self.input(index + 2)]
        return self.emit("DequantizeLinear", operands if operands[2] else operands[:2], f"{what}_real",
                         axis=axis if self.rewrite.opset >= _PER_AXIS else None)

    def leave(self, real: str, scale: int, like: int = 0) -> None:
        """The float tensor in the scale and zero point of inputs scale, scale + 1; without the latter it is 0, of the type of
        input `like`."""
        zero = self.input(scale + 1) or self.zero(like)
        self.emit("QuantizeLinear", [real, self.required(scale, "scale of the result"), zero], output=self.node.output[0])

    def zero(self, like: int) -> str:
        kind = self.rewrite.types.get(self.input(like + 2)) or self.rewrite.types.get(self.input(like))
        if kind not in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
            raise UnsupportedOpError(f"{self.where}: expected a zero point of the result, found none, and no type to take it from; "
                                     "export the model with zero points")
        return self.constant(np.zeros((), helper.tensor_dtype_to_np_dtype(kind)), "zero")


def _binary(n: _Node) -> None:
    n.leave(n.emit(n.node.op_type.removeprefix("QLinear"), [n.enter(0, "A"), n.enter(3, "B")]), 6)


def _unary(n: _Node) -> None:
    kept = {"alpha": n.attribute("alpha", float, 0.01)} if n.node.op_type == "QLinearLeakyRelu" else {}
    n.leave(n.emit(n.node.op_type.removeprefix("QLinear"), [n.enter(0, "X")], **kept), 3)


def _average_pool(n: _Node) -> None:
    kernel = n.attribute("kernel_shape", list, None)
    last = n.attribute("channels_last", int, 0)
    rank = len(kernel) + 2
    x = n.enter(0, "X")
    if last:
        x = n.emit("Transpose", [x], perm=[0, rank - 1, *range(1, rank - 1)])
    own = {k: v for k, v in n.attributes.items() if k != "channels_last" and not (k == "ceil_mode" and v == 0)}
    y = n.emit("AveragePool", [x], **own)
    n.leave(n.emit("Transpose", [y], perm=[0, *range(2, rank), 1]) if last else y, 3)


def _global_average_pool(n: _Node) -> None:
    if n.attribute("channels_last", int, 0):  # how many axes there are is not known yet
        raise UnsupportedOpError(f"{n.where}: channels_last: expected 0, found 1; export the model with channels first")
    n.leave(n.emit("GlobalAveragePool", [n.enter(0, "X")]), 3)


def _concat(n: _Node) -> None:
    count, rest = divmod(len(n.node.input) - 2, 3)
    if count < 1 or rest:
        raise ModelFormatError(f"{n.where}: expected a scale and a zero point, then three inputs for each tensor, found "
                               f"{len(n.node.input)} inputs")
    if count > _MOST_TENSORS:
        raise UnsupportedOpError(f"{n.where}: expected at most {_MOST_TENSORS} tensors, found {count}")
    parts = [n.enter(2 + 3 * k, f"X{k}") for k in range(count)]
    n.leave(n.emit("Concat", parts, axis=n.attribute("axis", int, None)), 0, like=2)


def _softmax(n: _Node) -> None:
    """Attribute `opset` says which Softmax is meant; before 13 all axes from `axis` on count as one."""
    x, opset, axis = n.enter(0, "X"), n.attribute("opset", int, n.rewrite.opset), n.attribute("axis", int, -1)
    if (opset < _PER_AXIS) == (n.rewrite.opset < _PER_AXIS) or axis == -1:
        n.leave(n.emit("Softmax", [x], axis=axis), 3)
        return
    if n.rewrite.opset < _PER_AXIS:
        raise UnsupportedOpError(f"{n.where}: expected axis -1 in a model of opset {n.rewrite.opset}, found {axis}; convert it to "
                                 f"opset {_PER_AXIS}")
    rows = n.emit("Softmax", [n.emit("Flatten", [x], axis=axis)], axis=-1)
    n.leave(n.emit("Reshape", [rows, n.emit("Shape", [x])]), 3)


def _gemm(n: _Node) -> None:
    """C is in steps of alpha times the scales of A and B; without a scale of the result that stays float."""
    alpha, trans_a, trans_b = n.attribute("alpha", float, 1.0), n.attribute("transA", int, 0), n.attribute("transB", int, 0)
    operands = [n.enter(0, "A"), n.enter(3, "B", axis=0 if trans_b else 1)]
    if n.input(6):
        step = n.emit("Mul", [n.required(1, "scale of A"), n.required(4, "scale of B")], "step")
        if alpha != 1.0:
            step = n.emit("Mul", [step, n.constant(np.float32(alpha).reshape(()), "alpha")], "steps")
        operands.append(n.emit("DequantizeLinear", [n.input(6), step], "C_real", axis=-1 if n.rewrite.opset >= _PER_AXIS else None))
    own = {"alpha": alpha, "transA": trans_a, "transB": trans_b}
    if n.input(7):
        n.leave(n.emit("Gemm", operands, **own), 7)
    else:
        n.emit("Gemm", operands, output=n.node.output[0], **own)


_RULES: dict[str, Callable[[_Node], None]] = {
    "QLinearAdd": _binary, "QLinearMul": _binary, "QLinearSigmoid": _unary, "QLinearLeakyRelu": _unary, "QGemm": _gemm,
    "QLinearAveragePool": _average_pool, "QLinearGlobalAveragePool": _global_average_pool, "QLinearConcat": _concat,
    "QLinearSoftmax": _softmax,
}
