"""ONNX nodes → internal nodes. What no kernel serves stays an ONNX node, with the reason in node.meta["reason"]."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import Unsupported
from edgerun.ops.registry import legalise

from .edit import replace

MAX_RANK = 8


def legalize(model: ir.Model) -> int:
    """Rewrite the graph and the branches of its Ifs. Returns the number of ONNX nodes rewritten.

    Bodies of other control flow (Loop, Scan) stay ONNX: onnx.reference runs them.
    """
    return _legalize(model.graph, model.graph.opset_imports.get("", 0))


def _legalize(graph: ir.Graph, opset: int) -> int:
    count = 0
    for node in list(graph):
        if node.op_type == "If" and node.domain == "":
            count += sum(_legalize(attr.value, opset) for attr in node.attributes.values())
            continue
        for value in node.outputs:
            value.meta["given"] = True  # the model's own name is worth keeping through rewrites
        try:
            _check_ranks(node)
            nodes, values = legalise(node, opset)
        except Unsupported as refusal:
            node.meta["reason"] = refusal.reason
            continue
        for new in nodes:
            new.meta["node"], new.meta["op"], new.meta["part"] = node.name or "", node.op_type, node
        graph.insert_before(node, nodes)
        for old, new_value in zip(node.outputs, values, strict=False):
            replace(old, new_value)
        graph.remove(node, safe=True)
        count += 1
    return count


def _check_ranks(node: ir.Node) -> None:
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.shape is not None and len(value.shape) > MAX_RANK:
            raise Unsupported(f"rank {len(value.shape)}; kernels take up to {MAX_RANK}")
