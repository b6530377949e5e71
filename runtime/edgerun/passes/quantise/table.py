"""Any function of one element behind a "dequantize" is a table of 256 entries, computed at plan time: bytes where a "quantize"
follows, float32 where the result is wanted so."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import DOMAIN, array_of, constant, dtype_of, get, make, producer, shape_of

from ..edit import before, drop, replace
from .functions import FUNCTIONS, SINGLE, evaluate
from .grid import BYTES, Grid, grid_of, on_grid

_MOST = 64
"""Operators that one table may stand for."""


@dataclass
class _Expression:
    """What a float value is made of: one quantised tensor, constants of one element, and elementwise operators."""

    leaf: tuple[ir.Value, Grid] | None = None
    order: list[ir.Node] = field(default_factory=list)
    known: dict[ir.Value, np.ndarray] = field(default_factory=dict)

    def read(self, value: ir.Value | None) -> bool:
        """Whether the value is such an expression; collects its operators in order."""
        if value is None:
            return False
        array, node = array_of(value), producer(value)
        if value in self.known or any(value is n.outputs[0] for n in self.order):
            return True
        if array is not None:
            if array.size != 1 or array.dtype.kind not in "fb":
                return False
            self.known[value] = array.reshape(1).astype(np.float64 if array.dtype.kind == "f" else np.bool_)
            return True
        found = on_grid(value)
        if found is not None:
            if self.leaf is not None and (self.leaf[0] is not found[0] or self.leaf[1] != found[1]):
                return False
            self.leaf = found
            self.known[value] = found[1].real(_bytes(found[1])).astype(np.float64)
            return True
        if node is None or node.domain != DOMAIN or node.op_type not in FUNCTIONS or get(node, "activation", 0):
            return False
        if len(self.order) >= _MOST or not all(self.read(v) for v in node.inputs):
            return False
        self.order.append(node)
        return True

    def values(self, result: ir.Value) -> np.ndarray:
        """float64 [256]: the expression for every byte."""
        for node in self.order:
            self.known[node.outputs[0]] = evaluate(node, [self.known[v] for v in node.inputs if v is not None])
        return np.broadcast_to(self.known[result], (256,)).astype(np.float64)


def _bytes(grid: Grid) -> np.ndarray:
    """The integers that the bytes 0 … 255 stand for."""
    raw = np.arange(256, dtype=np.uint8)
    return raw.view(np.int8) if grid.dtype == "i8" else raw


def fuse_table(node: ir.Node) -> int:
    """A "quantize" of an expression of one quantised tensor becomes a "lut", or nothing where it changes nothing."""
    target, real, out = grid_of(node), node.inputs[0], node.outputs[0]
    expression = _Expression()
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
    out, expression = node.outputs[0], _Expression()
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
