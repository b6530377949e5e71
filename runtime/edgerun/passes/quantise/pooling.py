"""Average pools and Softmax of a quantised tensor: "qaverage_pool" (also for the mean over the whole image) and "qsoftmax"."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.ops.fixed_point import fixed_point
from edgerun.ops.graph import Unsupported, constant, elements, get, is_op, make, shape_of

from ..edit import before, drop, replace
from .bounds import Target, target_of
from .grid import NOT_QUANTISED, Grid, on_grid

_WINDOW = 1 << 14
"""Elements of the largest window: the table of factors has an entry for each."""
_ROW = 1 << 20
_LARGEST = 2**31 - 1
_ONE = 30  # table entries are exponentials in steps of 2^-30


def fuse_pool(node: ir.Node) -> int:
    """node: a "quantize". Returns 1 where it became part of a quantised operator."""
    target = target_of(node)
    if target is None or not is_op(target.source, "average_pool", "reduce_mean"):
        return 0
    source = target.source
    try:
        x, grid = _operand(source)
        attrs = _window(source)
        kernel = attrs["kernel"]
        counts = np.arange(1, elements(kernel) + 1)
        if counts.size > _WINDOW:
            raise Unsupported(f"its window of {counts.size} elements is larger than {_WINDOW}")
        factors = fixed_point(grid.scale / target.grid.scale / counts)
    except Unsupported as refusal:
        source.meta["refused"] = refusal.reason
        return 0
    _put_pool(target, x, factors, {**attrs, "x_zero": grid.zero})
    return 1


def _operand(source: ir.Node) -> tuple[ir.Value, Grid]:
    found = on_grid(source.inputs[0])
    if found is None:
        raise Unsupported(NOT_QUANTISED)
    return found


def _window(source: ir.Node) -> dict[str, tuple[int, ...]]:
    """Attributes of "qaverage_pool"; a mean over all but the first and last axis is a pool with one window."""
    if is_op(source, "average_pool"):
        return {name: get(source, name) for name in ("kernel", "strides", "pads", "dilations", "count_include_pad")}
    shape, axes = shape_of(source.inputs[0]), tuple(get(source, "axes"))  # type: ignore[arg-type]
    if len(shape) not in (3, 4) or axes != tuple(range(1, len(shape) - 1)):
        raise Unsupported(f"a mean over the axes {axes} of {len(shape)} has no int8 kernel")
    rank = len(axes)
    one, none = (1,) * rank, (0,) * (2 * rank)
    return {"kernel": shape[1:-1], "strides": one, "pads": none, "dilations": one, "count_include_pad": 0}  # type: ignore[dict-item]


def _put_pool(target: Target, x: ir.Value, factors: np.ndarray, attrs: dict[str, object]) -> None:
    out, source = target.node.outputs[0], target.source
    shape = shape_of(out)
    kept = shape if is_op(source, "average_pool") else (shape[0], *(1,) * (len(shape_of(x)) - 2), shape[-1])
    if kept == shape:
        target.put("qaverage_pool", [x, constant(factors)], attrs)
        return
    new = make("qaverage_pool", [x, constant(factors)], {**attrs, **target.attributes()}, [(kept, out.dtype)], like=source)
    view = make("reshape", [before(target.node, new)], {}, [(shape, out.dtype)], like=source)
    replace(out, before(target.node, view))
    for dead in (target.node, *target.chain, source):
        if not any(v.uses() or v.is_graph_output() for v in dead.outputs):
            drop(dead)


def fuse_softmax(node: ir.Node) -> int:
    """node: a "quantize". Returns 1 where it became part of a "qsoftmax"."""
    target = target_of(node)
    if target is None or not is_op(target.source, "softmax"):
        return 0
    try:
        x, table, axis = _exponentials(target.source)
        inverse = round(2**12 / target.grid.scale)
        if inverse > _LARGEST:
            raise Unsupported("the scale of its result is too small for 32 bits")
    except Unsupported as refusal:
        target.source.meta["refused"] = refusal.reason
        return 0
    target.put("qsoftmax", [x, table], {"axis": axis, "inverse": inverse})
    return 1


def float_softmax(node: ir.Node) -> int:
    """node: a "softmax". One of a quantised tensor whose result stays float reads the integers as well."""
    try:
        x, table, axis = _exponentials(node)
    except Unsupported as refusal:
        node.meta.setdefault("refused", refusal.reason)
        return 0
    out = node.outputs[0]
    new = make("qsoftmax", [x, table], {"axis": axis}, [(shape_of(out), out.dtype)], like=node)
    replace(out, before(node, new))
    drop(node)
    return 1


def _exponentials(source: ir.Node) -> tuple[ir.Value, ir.Value, int]:
    """Operand, table of exp(-scale d) for d = 0 … 255 below the largest, axis."""
    x, grid = _operand(source)
    shape, axis = shape_of(x), get(source, "axis")
    if shape and shape[axis] >= _ROW:
        raise Unsupported(f"rows of {shape[axis]} elements")
    table = np.rint(np.ldexp(np.exp(-float(grid.scale) * np.arange(256)), _ONE)).astype(np.int32)
    return x, constant(table), axis
