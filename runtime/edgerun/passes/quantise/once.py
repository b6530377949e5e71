"""Equal "quantize" and "dequantize" nodes of one tensor become one: exporters write a pair for every user."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import get, is_op

from ..edit import drop, forwards, replace

Key = tuple[ir.Value, str, float, int, "ir.DataType | None"]


def merge_equal(model: ir.Model) -> int:
    """Returns how many nodes were removed."""
    return sum(_merge(graph) for graph in model.graphs())


def _merge(graph: ir.Graph) -> int:
    seen: dict[Key, ir.Value] = {}
    count = 0
    for node in list(graph):
        if not is_op(node, "quantize", "dequantize") or node.inputs[0] is None:
            continue
        out = node.outputs[0]
        first = seen.setdefault((node.inputs[0], node.op_type, get(node, "scale"), get(node, "zero"), out.dtype), out)
        if first is not out and not out.is_graph_output() and not forwards(out, first):
            replace(out, first)
            drop(node)
            count += 1
    return count
