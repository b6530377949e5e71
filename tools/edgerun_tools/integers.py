"""A quantised model whose inputs and outputs are the integers themselves: no float32 is left at its ends."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from edgerun.errors import ModelError


def bare(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, tuple[float, int]]]:
    """The model without the QuantizeLinear of every input and the DequantizeLinear of every output, and (scale, zero) of each of them.

    Inputs and outputs keep names and shapes. ModelError where one of them is not quantised by one scale at its very end, Reshape and
    Flatten in between allowed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, grids = made.graph, {}
    for value in graph.input:
        grids[value.name] = _end(graph, value, "QuantizeLinear")
    for value in graph.output:
        grids[value.name] = _end(graph, value, "DequantizeLinear")
    return made, grids


def _end(graph: onnx.GraphProto, value: onnx.ValueInfoProto, op: str) -> tuple[float, int]:
    at_input = op == "QuantizeLinear"
    name = value.name
    while True:
        nodes = [n for n in graph.node if name in (n.input if at_input else n.output)]
        if len(nodes) == 1 and nodes[0].op_type == op:
            break
        if len(nodes) != 1 or nodes[0].op_type not in ("Flatten", "Reshape"):
            raise ModelError(f"'{value.name}': expected a {op} at its end; found {', '.join(n.op_type for n in nodes) or 'nothing'}; "
                             "quantize the model first (edgerun quantize)")
        name = nodes[0].output[0] if at_input else nodes[0].input[0]
    node = nodes[0]
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    scale, zero = (constants.get(n) for n in node.input[1:3])
    if scale is None or zero is None or scale.size != 1:
        raise ModelError(f"'{value.name}': expected a {op} with one constant scale and zero point; found others")
    kept, gone = (node.input[0], node.output[0]) if at_input else (node.output[0], node.input[0])
    graph.node.remove(node)
    for other in graph.node:
        for names in (other.input, other.output):
            for k, n in enumerate(names):
                names[k] = kept if n == gone else n
    value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(zero.dtype)
    return float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
