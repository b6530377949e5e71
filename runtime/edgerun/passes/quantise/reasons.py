"""Which operators of a quantised model compute in int8, and why the others do not: `node.meta["int8"]`, "" or the reason."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import DOMAIN, dtype_of, is_op, origin, producer
from edgerun.ops.quantized import quantized_of

from .binary import ONE_NOT_QUANTISED
from .functions import FUNCTIONS
from .grid import BYTES, NOT_QUANTISED
from .move import MOVERS

KEY = "int8"
_QUANTISED = ("qconv", "qmatmul", "qadd", "qmul", "qaverage_pool", "qsoftmax", "lut", "lut_add")
_WITH_FORM = frozenset({"conv", "matmul", "add", "sub", "mul", "average_pool", "reduce_mean", "max_pool", "softmax", *FUNCTIONS})
_NO_LAYER = frozenset({*MOVERS, "quantize", "dequantize", "cast", "copy"}) - {"max_pool"}


def is_quantised(graph: ir.Graph) -> bool:
    """Whether anything in the graph is quantised."""
    return any(
        is_op(node, "quantize", "dequantize", "qconv", "qmatmul") or any(quantized_of(v) is not None for v in node.inputs)
        for node in graph
    )


def explain(graph: ir.Graph) -> None:
    """Fill in `meta["int8"]` of every node that computes with numbers; of those that one ONNX node became, of the first."""
    parts: set[ir.Node | None] = set()
    for node in graph:
        if node.domain != DOMAIN or node.op_type in _NO_LAYER or node.meta.get("requantises"):
            continue
        if node.op_type in _QUANTISED or (is_op(node, "max_pool") and dtype_of(node.outputs[0]) in BYTES):
            node.meta[KEY] = ""
            parts.add(node.meta.get("part"))
        elif any(dtype_of(v) == "f32" for v in node.outputs) and (node.meta.get("part") is None or node.meta["part"] not in parts):
            node.meta[KEY] = _reason(node)
            parts.add(node.meta.get("part"))


def _reason(node: ir.Node) -> str:
    said: str | None = node.meta.get("refused")
    if node.op_type not in _WITH_FORM:
        return f"{node.op_type} has no int8 kernel"
    if said is not None and said not in (NOT_QUANTISED, ONE_NOT_QUANTISED):
        return said
    if is_op(node, "conv", "matmul") and node.inputs[1] is not None and node.inputs[1].const_value is not None:
        if quantized_of(node.inputs[1]) is None:
            return "its weights are not quantised"
    for value in node.inputs:
        if value is not None and value.const_value is None and not _quantised(value):
            front = producer(value)
            model = f"its input '{value.name}' is a float input of the model"
            return model if front is None else f"its input is the float result of {_called(front)}"
    return _wanted(node)


def _quantised(value: ir.Value) -> bool:
    node = producer(value)
    source = node.inputs[0] if node is not None and is_op(node, "dequantize") else value
    return source is not None and dtype_of(source) in BYTES


def _wanted(node: ir.Node) -> str:
    """Who needs the float result of a node whose operands are quantised."""
    for out in node.outputs:
        if out.is_graph_output():
            return "its result is a float output of the model"
        for use in out.uses():
            if not is_op(use.node, "quantize"):
                return f"its result is used in float by {_called(use.node)}"
    if any(v is not None and v.const_value is not None and v.const_value.size > 1 for v in node.inputs):
        return "its constant operand differs from element to element"
    return "it has no int8 form with these operands"


def _called(node: ir.Node) -> str:
    name, op = origin(node)
    name = name or node.outputs[0].name or ""
    return f"{op} '{name}'" if name else op
