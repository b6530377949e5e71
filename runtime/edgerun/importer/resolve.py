"""One pass over a graph that makes it static: constants folded, constant Ifs replaced by their branch, shapes inferred."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.errors import ShapeError
from edgerun.limits import short
from edgerun.ops.graph import array_of, constant, get, sweep
from edgerun.ops.quantized import carry

from .allowance import Allowance
from .fold import evaluate, inline, replace
from .operands import check_operands
from .shapes import infer, unresolved

CONTROL_FLOW = frozenset({"Loop", "Scan"})
"""Operators whose bodies edgerun.executors.dynamic runs, with shapes that are only known then. Bodies of other operators are
onnx.reference's, which cannot be relied on to look for values outside of them."""


def resolve(model: ir.Model, name: str, allowance: Allowance) -> str:
    """Returns "", or the reason why shapes stay unknown. Raises ShapeError, LimitError, ModelFormatError,
    DeadlineExceeded."""
    sweep(model.graph)
    _Pass(model, name, allowance).graph(model.graph, True)
    sweep(model.graph)
    value = unresolved(model.graph)
    if value is None:
        return ""
    node = value.producer()
    op = f"{node.op_type} '{short(node.name or '')}'" if node is not None else "an input"
    return f"the shape or type of '{short(value.name or '')}' ({op}) depends on data"


class _Pass:
    def __init__(self, model: ir.Model, name: str, allowance: Allowance) -> None:
        self.name, self.allowance = name, allowance
        self.opsets = dict(model.graph.opset_imports)
        self.opsets[""] = self.opsets.pop("ai.onnx", self.opsets.get("", 0))
        self.ir_version = model.ir_version

    def graph(self, graph: ir.Graph, shapes: bool) -> None:
        """Visit the nodes in order. shapes: whether inputs have shapes to begin with."""
        for node in list(graph):
            self._visit(graph, node, shapes)

    def _visit(self, graph: ir.Graph, node: ir.Node, shapes: bool) -> None:
        if self.allowance.clock.over:
            raise self.allowance.clock.late(self.name, f"importing operator {node.op_type}")
        check_operands(node, self.name)
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            self._if(graph, node, shapes)
            return
        if node.op_type in CONTROL_FLOW and node.domain in ("", "ai.onnx"):
            self.graph(get(node, "body"), False)
        arrays = evaluate(node, self.opsets, self.allowance)
        if arrays is not None:
            for output, array in zip(node.outputs, arrays, strict=True):
                if array is not None:
                    known = constant(np.asarray(array), output.name)
                    carry(node, known)
                    replace(output, known)
            graph.remove(node, safe=True)
        elif shapes:
            infer(node, self.opsets, self.ir_version, self.name)
            self.allowance.check(node)

    def _if(self, graph: ir.Graph, node: ir.Node, shapes: bool) -> None:
        condition = array_of(node.inputs[0])
        branches: list[ir.Graph] = [get(node, "then_branch"), get(node, "else_branch")]
        if condition is not None:
            if condition.size != 1:
                raise ShapeError(f"{self.name}: If, node '{short(node.name or '')}': expected a condition of one element, found "
                                 f"shape {list(condition.shape)}")
            for moved in inline(graph, node, branches[0 if condition.reshape(-1)[0] else 1]):
                self._visit(graph, moved, shapes)
            return
        for branch in branches:
            self.graph(branch, shapes)
        for output, one, other in zip(node.outputs, *(b.outputs for b in branches), strict=True):
            if one.type is not None and one.type == other.type:
                output.type = one.type
                output.shape = one.shape if one.shape == other.shape else None
