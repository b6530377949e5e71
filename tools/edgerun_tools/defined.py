"""Quantised operators written out as what they mean: DequantizeLinear, the float32 operator, QuantizeLinear.

ONNX Runtime computes the written-out model in float32 where its optimisations are off, which tells right from wrong; its own
8-bit kernels need not. (On x86-64 without VNNI those for uint8 activations add pairs of products in saturating 16 bits: 255 · 127
summed over 576 products came out as half, with 1.31.1.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgerun.errors import UnsupportedOpError

MICROSOFT = "com.microsoft"
QUANTISED = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
                       "MatMulInteger"})


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether something in the model's graph computes with quantised numbers."""
    return any(n.op_type in QUANTISED or n.domain == MICROSOFT for n in model.graph.node)


def defined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with QLinear… and com.microsoft's quantised operators written out; what is QDQ already stays as it is. A model
    without such operators is returned itself.

    UnsupportedOpError for an operator of com.microsoft that is not known here.
    """
    if not any(n.op_type in _WRITERS or n.domain == MICROSOFT for n in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    writer = _Writer({i.name: numpy_helper.to_array(i) for i in model.graph.initializer})
    for node in model.graph.node:
        write = _WRITERS.get(node.op_type)
        if write is not None:
            write(writer, node)
        elif node.domain == MICROSOFT:
            raise UnsupportedOpError(f"{node.op_type}, node '{node.name}': expected a quantised operator of ONNX or one of "
                                     f"{', '.join(sorted(_WRITERS))}; found domain {MICROSOFT}")
        else:
            writer.nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(writer.nodes)
    copy.graph.initializer.extend(writer.added)
    return copy


class _Writer:
    """Collects nodes and constants; names of its own are made from the node's first output."""

    def __init__(self, held: dict[str, np.ndarray]) -> None:
        self.held, self.nodes, self.added = held, list[onnx.NodeProto](), list[onnx.TensorProto]()
        self._count = 0

    def name(self, node: onnx.NodeProto) -> str:
        self._count += 1
        return f"{node.output[0]} defined {self._count}"

    def constant(self, node: onnx.NodeProto, value: np.ndarray) -> str:
        name = self.name(node)
        self.added.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def real(self, node: onnx.NodeProto, parts: Sequence[str], axis: int = 0) -> str:
        """(tensor, scale, zero point) as float32; where the tensor is a constant, as one. axis: of a constant's several scales."""
        if parts[0] in self.held:
            values, scale, zero = (self.held[p] for p in parts)
            along = [-1 if k == axis else 1 for k in range(values.ndim)]
            scale, zero = (p.reshape(along) if p.size > 1 else p.reshape(()) for p in (scale, zero))
            return self.constant(node, (values.astype(np.float32) - zero.astype(np.float32)) * scale)
        name = self.name(node)
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [name]))
        return name

    def bias(self, node: onnx.NodeProto, name: str, x_scale: str, w_scale: str) -> str:
        """An int32 bias, in steps of both scales, as float32."""
        scale = self.held[x_scale].reshape(-1).astype(np.float64) * self.held[w_scale].reshape(-1)
        return self.constant(node, (self.held[name] * scale).astype(np.float32))

    def compute(self, node: onnx.NodeProto, op: str, inputs: Sequence[str], rounded: Sequence[str],
                dropped: Sequence[str] = ()) -> None:
        """The operator with the node's attributes, then rounded to (scale, zero point)."""
        real = self.name(node) if rounded else node.output[0]
        made = helper.make_node(op, inputs, [real], node.name)
        made.attribute.extend(a for a in node.attribute if a.name not in dropped)
        self.nodes.append(made)
        if rounded:
            self.nodes.append(helper.make_node("QuantizeLinear", [real, *rounded], [node.output[0]]))


def _conv(w: _Writer, n: onnx.NodeProto) -> None:
    i = n.input
    inputs = [w.real(n, i[0:3]), w.real(n, i[3:6], axis=0)]
    if len(i) > 8 and i[8]:
        inputs.append(w.bias(n, i[8], i[1], i[4]))
    w.compute(n, "Conv", inputs, i[6:8])


def _matmul(w: _Writer, n: onnx.NodeProto) -> None:
    w.compute(n, "MatMul", [w.real(n, n.input[0:3]), w.real(n, n.input[3:6], axis=1)], n.input[6:8])


def _gemm(w: _Writer, n: onnx.NodeProto) -> None:
    i = n.input
    transposed = any(a.name == "transB" and a.i for a in n.attribute)
    inputs = [w.real(n, i[0:3]), w.real(n, i[3:6], axis=0 if transposed else 1)]
    if len(i) > 6 and i[6]:
        inputs.append(w.bias(n, i[6], i[1], i[4]))
    w.compute(n, "Gemm", inputs, i[7:9])


def _binary(op: str) -> Callable[[_Writer, onnx.NodeProto], None]:
    def write(w: _Writer, n: onnx.NodeProto) -> None:
        w.compute(n, op, [w.real(n, n.input[0:3]), w.real(n, n.input[3:6])], n.input[6:8])

    return write


def _unary(op: str) -> Callable[[_Writer, onnx.NodeProto], None]:
    def write(w: _Writer, n: onnx.NodeProto) -> None:
        if any(a.name == "channels_last" and a.i for a in n.attribute):
            raise UnsupportedOpError(f"{n.op_type}, node '{n.name}': expected channels first; found channels_last")
        w.compute(n, op, [w.real(n, n.input[0:3])], n.input[3:5], ("channels_last", "opset"))

    return write


def _concat(w: _Writer, n: onnx.NodeProto) -> None:
    w.compute(n, "Concat", [w.real(n, n.input[k:k + 3]) for k in range(2, len(n.input), 3)], n.input[0:2])


_WRITERS: dict[str, Callable[[_Writer, onnx.NodeProto], None]] = {
    "QGemm": _gemm, "QLinearAdd": _binary("Add"), "QLinearAveragePool": _unary("AveragePool"), "QLinearConcat": _concat,
    "QLinearConv": _conv, "QLinearGlobalAveragePool": _unary("GlobalAveragePool"), "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearMatMul": _matmul, "QLinearMul": _binary("Mul"), "QLinearSigmoid": _unary("Sigmoid"), "QLinearSoftmax": _unary("Softmax"),
}
