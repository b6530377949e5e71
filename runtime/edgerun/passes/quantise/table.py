"""Any function of one element behind a "dequantize" is a table of 256 entries, computed at plan time: bytes where a "quantize"
follows, float32 where the result is wanted so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import DOMAIN, constant, dtype_of, make, shape_of

from ..edit import before, drop, replace
from .expression import Expression
from .functions import FUNCTIONS, SINGLE
from .grid import BYTES, grid_of


def fuse_table(node: ir.Node) -> int:
    """A "quantize" of an expression of one quantised tensor becomes a "lut", or nothing where it changes nothing."""
    target, real, out = grid_of(node), node.inputs[0], node.outputs[0]
    expression = Expression()
    if target.dtype not in BYTES or real is None or not expression.read(real) or expression.leaf is None:
        return 0
    x, grid = expression.leaf
    if shape_of(x) != shape_of(out):
        return 0
    if not expression.order and grid == target:
        replace(out, x)
        drop(node)
        return 1
    with np.errstate(over="ignore"):
        table = target.integers(expression.values(real).astype(np.float32))
    replace(out, _lut(x, table, out.dtype, node, expression.order))
    drop(node)
    return 1


def float_tables(graph: ir.Graph) -> int:
    """Float32 results of expressions of one quantised tensor that are still wanted become a "lut" of float32, where more than
    single roundings are in it. Returns how many."""
    return sum(_float_table(node) for node in reversed(list(graph)) if node.domain == DOMAIN and node.op_type in FUNCTIONS)


def _float_table(node: ir.Node) -> int:
    out, expression = node.outputs[0], Expression()
    if not out.uses() and not out.is_graph_output():  # the operator behind it has just become a table
        drop(node)
        return 0
    if dtype_of(out) != "f32" or not expression.read(out) or expression.leaf is None:
        return 0
    x = expression.leaf[0]
    if shape_of(x) != shape_of(out) or all(n.op_type in SINGLE for n in expression.order):
        return 0
    with np.errstate(over="ignore"):
        table = expression.values(out).astype(np.float32)
    replace(out, _lut(x, table, out.dtype, node, expression.order))
    drop(node)
    return 1


def _lut(x: ir.Value, table: np.ndarray, dtype: ir.DataType | None, node: ir.Node, of: list[ir.Node]) -> ir.Value:
    assert dtype is not None
    entries = constant(table.astype(dtype.numpy()), None)
    new = make("lut", [x, entries], {}, [(shape_of(x), dtype)], like=of[-1] if of else node)
    new.meta["requantises"] = not of
    return before(node, new)
