"""Constant folding: nodes whose inputs are all constant are evaluated once with onnx.reference; Shape and Size of
static values too.

Constants afterwards are values with `const_value` that no node produces and no graph owns.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgerun.ops.graph import array_of, constant, get

from .single import captured, operands, single

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_CONTROL = frozenset({"Loop", "Scan", "SequenceMap"})


def fold(model: ir.Model, max_bytes: int) -> int:
    """Evaluate what is constant, and replace an If with a constant condition by its branch. Returns the number of
    nodes removed."""
    return _fold_graph(model.graph, dict(model.graph.opset_imports), max_bytes)


def _fold_graph(graph: ir.Graph, opsets: dict[str, int], max_bytes: int) -> int:
    count = 0
    for node in graph:
        for attr in node.attributes.values():
            if attr.type == ir.AttributeType.GRAPH:
                count += _fold_graph(attr.value, opsets, max_bytes)
        if node.op_type == "If" and node.domain == "":
            condition = array_of(node.inputs[0])
            if condition is not None:
                _inline(graph, node, get(node, "then_branch" if condition.reshape(-1)[0] else "else_branch"))
                count += 1
            continue
        arrays = _evaluate(node, opsets, max_bytes)
        if arrays is not None:
            for output, array in zip(node.outputs, arrays, strict=True):
                if array is not None:
                    replace(output, constant(np.asarray(array), output.name))
            graph.remove(node, safe=True)
            count += 1
    return count


def _evaluate(node: ir.Node, opsets: dict[str, int], max_bytes: int) -> list[np.ndarray | None] | None:
    if node.domain not in ("", "ai.onnx.ml") or node.op_type in RANDOM or node.op_type in _CONTROL:
        return None
    if node.op_type == "Constant":
        return _constant(node)
    if node.op_type in ("Shape", "Size"):
        return _shape(node)
    if any(v is not None and v.const_value is None for v in node.inputs) or captured(node):
        return None
    if not all(isinstance(o.type, (ir.TensorType, type(None))) for o in node.outputs) or _size(node) > max_bytes:
        return None
    feeds = {v.name or "": array_of(v) for v in operands(node)}
    try:
        results = ReferenceEvaluator(single(node, opsets)).run(None, feeds)
    except Exception:  # the reference may lack a form of the operator: the node then stays and is judged later
        return None
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        return None
    return _with_absent(node, [np.asarray(r) for r in results])


def _with_absent(node: ir.Node, results: list[np.ndarray]) -> list[np.ndarray | None]:
    supply = iter(results)
    return [next(supply) if output.name else None for output in node.outputs]


def _constant(node: ir.Node) -> list[np.ndarray | None] | None:
    for name, attr in node.attributes.items():
        if name == "value":
            return [attr.value.numpy()]
        if name in ("value_int", "value_ints"):
            return [np.asarray(attr.value, np.int64)]
        if name in ("value_float", "value_floats"):
            return [np.asarray(attr.value, np.float32)]
    return None


def _shape(node: ir.Node) -> list[np.ndarray | None] | None:
    x = node.inputs[0]
    array = array_of(x)
    shape = array.shape if array is not None else x.shape if x is not None else None
    if shape is None:
        return None
    dims = list(shape)
    if node.op_type == "Shape":
        start, end = get(node, "start", 0), get(node, "end")
        dims = dims[start:end] if end is not None else dims[start:]
    if not all(isinstance(d, int) for d in dims):
        return None
    return [np.asarray(dims if node.op_type == "Shape" else int(np.prod(dims, dtype=np.int64)), np.int64)]


def _size(node: ir.Node) -> int:
    """Bytes of the largest output, as far as they are known before evaluating."""
    largest = 0
    for output in node.outputs:
        shape = output.shape
        if shape is not None and shape.is_static():
            largest = max(largest, 8 * int(np.prod(shape.numpy(), dtype=np.float64)))
    if node.op_type in ("ConstantOfShape", "Expand", "Tile"):
        dims = array_of(node.inputs[-1])
        if dims is not None:
            largest = max(largest, 8 * int(np.prod(np.maximum(dims, 1), dtype=np.float64)))
    return largest


def _inline(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    results = list(branch.outputs)
    branch.outputs.clear()
    moved = list(branch)
    branch.remove(moved)
    graph.insert_before(node, moved)
    for output, result in zip(node.outputs, results, strict=True):
        replace(output, result)
    graph.remove(node, safe=True)


def replace(old: ir.Value, new: ir.Value) -> None:
    """All uses of `old`, graph outputs included, become uses of `new`."""
    if new.shape is None and old.shape is not None:
        new.shape = old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
