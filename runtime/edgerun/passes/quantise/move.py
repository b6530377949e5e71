"""Operators that only move elements, or choose among them, work on the integers: "dequantize" sinks below them, "quantize"
rises above them. Both are exact, as quantisation is the same for every element and keeps the order."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import attributes, constant, elements, get, is_op, make, operand, producer, scalar_of, shape_of

from ..edit import before, drop, replace
from .functions import FUNCTIONS
from .grid import Grid, dequantize, grid_of, on_grid, quantize, users
from .once import merge_equal

ALIKE = ("reshape", "transpose", "slice", "gather", "gather_elements", "gather_nd", "expand", "resize_nearest", "pad", "max_pool",
         "concat")
MOVERS = (*ALIKE, "split")
_SMALLER = ("slice", "gather", "gather_nd", "max_pool")
_ARITHMETIC = ("conv", "matmul", "average_pool", "reduce_mean", "softmax", "dequantize", *FUNCTIONS)


def _data(node: ir.Node) -> list[int]:
    """Which inputs hold the elements; the others are indices, or the value to pad with."""
    return list(range(len(node.inputs))) if is_op(node, "concat") else [0]


def move_pairs(model: ir.Model) -> int:
    """Before anything else, so that the other passes see the integers where the data are moved. Returns how many moved."""
    return merge_equal(model) + sum(sink(graph) + rise(graph) for graph in model.graphs()) + merge_equal(model)


def sink(graph: ir.Graph) -> int:
    """mover(dequantize(x)) → dequantize(mover(x)), where all operands are on one grid, and quantize(dequantize(x)) → x. Returns
    how many moved."""
    return sum(_sink(n) if is_op(n, *MOVERS) else _cancel(n) for n in list(graph) if is_op(n, *MOVERS, "quantize"))


def _cancel(node: ir.Node) -> int:
    found = on_grid(node.inputs[0])
    if found is None or found[1] != grid_of(node) or found[0].const_value is not None:
        return 0
    replace(node.outputs[0], found[0])
    drop(node)
    return 1


def _sink(node: ir.Node) -> int:
    found = [on_grid(node.inputs[k]) for k in _data(node)]
    grids = {f[1] for f in found if f is not None}
    if None in found or len(grids) != 1 or all(v is None or v.const_value is not None for v in node.inputs):
        return 0
    grid, inputs = grids.pop(), list(node.inputs)
    for k, f in zip(_data(node), found, strict=True):
        assert f is not None
        inputs[k] = f[0]
    if not _fill(node, inputs, grid, exact=True):
        return 0
    _on_integers(node, inputs, grid)
    return 1


def _on_integers(node: ir.Node, inputs: list[ir.Value | None], grid: Grid) -> None:
    dtype = inputs[0].dtype  # type: ignore[union-attr]
    new = make(node.op_type, inputs, attributes(node), [(shape_of(v), dtype) for v in node.outputs], like=node)
    before(node, new)
    for old, integers in zip(node.outputs, new.outputs, strict=True):
        replace(old, dequantize(integers, grid, node, node))
    drop(node)


def _fill(node: ir.Node, inputs: list[ir.Value | None], grid: Grid, exact: bool) -> bool:
    """Put the integer that a "pad" fills with in the place of the real one. exact: only where it stands for that number."""
    if not is_op(node, "pad") or get(node, "mode") != 0:
        return True
    value = 0.0 if operand(node, 1) is None else scalar_of(operand(node, 1))
    if value is None:
        return False
    integer = grid.integers(np.float32(value))
    if exact and float(grid.real(integer)) != value:
        return False
    inputs[1:] = [constant(integer.astype(np.int8 if grid.dtype == "i8" else np.uint8).reshape(()))]
    return True


def rise(graph: ir.Graph) -> int:
    """quantize(mover(x)) → mover(quantize(x)), where nothing else wants the float result. Returns how many moved."""
    return sum(_rise(node) for node in reversed(list(graph)) if is_op(node, *ALIKE))


def _rise(node: ir.Node) -> int:
    out = node.outputs[0]
    readers = users(out)
    if not readers or out.is_graph_output() or not all(is_op(r, "quantize") and r.graph is node.graph for r in readers):
        return 0
    grids = {grid_of(r) for r in readers}
    grid, inputs, dtype = grid_of(readers[0]), list(node.inputs), readers[0].outputs[0].dtype
    if len(grids) != 1 or (is_op(node, *_SMALLER) and not _worth(node, grid)):
        return 0
    if grid.dtype not in ("i8", "u8") or not _fill(node, inputs, grid, exact=False):
        return 0
    for k in _data(node):
        x = node.inputs[k]
        assert x is not None
        inputs[k] = quantize(x, grid, dtype, node, readers[0])
    new = make(node.op_type, inputs, attributes(node), [(shape_of(out), dtype)], like=node)
    before(node, new)
    for reader in readers:
        replace(reader.outputs[0], new.outputs[0])
        drop(reader)
    drop(node)
    return 1


def _worth(node: ir.Node, grid: Grid) -> bool:
    """Whether quantising what the mover reads is no more work: it is done by the kernel in front of it, or not larger than
    what all that read it take from it (every second pixel, and the others), or done anyway."""
    x = node.inputs[0]
    assert x is not None
    taken = sum(elements(shape_of(u.outputs[0])) for u in users(x) if is_op(u, *_SMALLER))
    done = any(is_op(u, "quantize") and grid_of(u) == grid for u in users(x))
    return done or is_op(producer(x), *_ARITHMETIC) or elements(shape_of(x)) <= taken
