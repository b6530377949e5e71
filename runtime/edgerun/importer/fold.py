"""Constant folding of one node: what has constant inputs only is evaluated once with onnx.reference; Shape and Size of
static values too.

Constants afterwards are values with `const_value` that no node produces and no graph owns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgerun.ops.graph import array_of, get

from .allowance import Allowance
from .single import captured, operands, single
from .sizing import SIZES, check_work, result_bytes

RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_CONTROL = frozenset({"Loop", "Scan", "SequenceMap"})


def evaluate(node: ir.Node, opsets: dict[str, int], allowance: Allowance) -> list[np.ndarray | None] | None:
    """The outputs of a node (None for absent ones) where they are known ahead of time and small enough; else None."""
    if node.domain not in ("", "ai.onnx.ml") or node.op_type in RANDOM or node.op_type in _CONTROL:
        return None
    if node.op_type == "Constant":
        return constant_of(node)
    if node.op_type in ("Shape", "Size"):
        return _shape(node)
    if any(v is not None and v.const_value is None for v in node.inputs) or captured(node):
        return None
    if not all(isinstance(o.type, (ir.TensorType, type(None))) for o in node.outputs):
        return None
    model = single(node, opsets)
    feeds = {v.name or "": array_of(v) for v in operands(node)}
    check_work(model.graph.node[0], {name: f.shape for name, f in feeds.items() if f is not None})
    if not allowance.allows(_need(node, opsets, feeds)):
        return None
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # the reference may lack a form of the operator: the node then stays and is judged later
        return None
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        return None
    allowance.take(sum(r.nbytes for r in results))
    return _with_absent(node, [np.asarray(r) for r in results])


def _need(node: ir.Node, opsets: dict[str, int], feeds: Mapping[str, np.ndarray | None]) -> float:
    """Bytes of the results: from their inferred shapes, unless those come from arithmetic that may have wrapped around."""
    known = [o.shape.numpy() for o in node.outputs if o.shape is not None and o.shape.is_static()]
    if len(known) == len(node.outputs) and node.op_type not in SIZES:
        return sum(8.0 * math.prod(dims) for dims in known)
    return result_bytes(single(node, opsets), feeds)


def _with_absent(node: ir.Node, results: list[np.ndarray]) -> list[np.ndarray | None]:
    supply = iter(results)
    return [next(supply) if output.name else None for output in node.outputs]


def constant_of(node: ir.Node) -> list[np.ndarray | None] | None:
    """The output of a Constant; None for one of strings or a sparse tensor."""
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


def inline(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> list[ir.Node]:
    """Put the nodes of a branch in place of its If. Returns them."""
    results = list(branch.outputs)
    branch.outputs.clear()
    moved = list(branch)
    branch.remove(moved)
    graph.insert_before(node, moved)
    for output, result in zip(node.outputs, results, strict=True):
        replace(output, result)
    graph.remove(node, safe=True)
    return moved


def replace(old: ir.Value, new: ir.Value) -> None:
    """All uses of `old`, graph outputs included, become uses of `new`."""
    if new.shape is None and old.shape is not None:
        new.shape = old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
