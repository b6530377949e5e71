"""One ONNX node as a model of its own: what constant folding evaluates and fallback steps carry."""

from __future__ import annotations

import itertools

import onnx
import onnx_ir as ir

_NEWER = {"DequantizeLinear": 19}
"""onnx.reference has no older version of these; the newer ones take every older form."""
_FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
"""Before opset 13 these count all axes from `axis` on as one; onnx.reference only knows the later meaning."""


def captured(node: ir.Node) -> list[ir.Value]:
    """Values of outer graphs that the node's subgraphs use, in order of first use."""
    found: dict[ir.Value, None] = {}
    for attr in node.attributes.values():
        graphs = (
            [attr.value]
            if attr.type == ir.AttributeType.GRAPH
            else attr.value
            if attr.type == ir.AttributeType.GRAPHS
            else []
        )
        for graph in graphs:
            _captured(graph, set(), found)
    return list(found)


def _captured(graph: ir.Graph, local: set[ir.Value], found: dict[ir.Value, None]) -> None:
    local = local | set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in local:
                found.setdefault(value)
        for attr in node.attributes.values():
            if attr.type == ir.AttributeType.GRAPH:
                inner: dict[ir.Value, None] = {}
                _captured(attr.value, local, inner)
                found.update(inner)
        local.update(node.outputs)
    for value in graph.outputs:
        if value not in local:
            found.setdefault(value)


def operands(node: ir.Node) -> list[ir.Value]:
    """Inputs of the node's model: its present inputs (each once), then what its subgraphs capture."""
    return list(dict.fromkeys([v for v in node.inputs if v is not None] + captured(node)))


_COUNTER = itertools.count()


def _name(node: ir.Node) -> None:
    """Passes make nameless values, and constants that share a name: the node's model needs different names."""
    seen: set[str] = set()
    for value in (*operands(node), *(v for v in node.outputs if v.name != "")):
        if not value.name or value.name in seen:
            value.name = f"edgerun_value_{next(_COUNTER)}"
        seen.add(value.name)


def single(node: ir.Node, opsets: dict[str, int]) -> onnx.ModelProto:
    """A model with this one node; inputs as `operands` lists them, outputs the node's outputs that have a name."""
    _name(node)
    proto = ir.serde.serialize_node(node)
    inputs = [onnx.helper.make_value_info(v.name or "", onnx.TypeProto()) for v in operands(node)]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in proto.output if name]
    newest = _NEWER.get(node.op_type, 0) if node.domain == "" else 0
    nodes = [proto]
    if node.domain == "" and node.op_type in _FLATTENING and opsets.get("", 0) < 13:
        nodes, newest = _flattened(proto), 13
    graph = onnx.helper.make_graph(nodes, node.name or node.op_type, inputs, outputs)
    imports = [onnx.helper.make_opsetid(d, max(v, newest) if d == "" else v) for d, v in opsets.items()]
    return onnx.helper.make_model(graph, opset_imports=imports)


def _flattened(proto: onnx.NodeProto) -> list[onnx.NodeProto]:
    """x → Flatten(axis) → the operator over rows → the shape of x."""
    (x,), (y,) = proto.input, proto.output
    axis = next((a.i for a in proto.attribute if a.name == "axis"), 1)
    make = onnx.helper.make_node
    return [make("Flatten", [x], ["edgerun_rows"], axis=axis), make(proto.op_type, ["edgerun_rows"], ["edgerun_result"], axis=1),
            make("Shape", [x], ["edgerun_shape"]), make("Reshape", ["edgerun_result", "edgerun_shape"], [y])]
