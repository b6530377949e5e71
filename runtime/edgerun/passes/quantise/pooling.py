"""Average pools and Softmax of a quantised tensor: "qaverage_pool" (also for the mean over the whole image) and "qsoftmax"."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun.ops.fixed_point import fixed_point
from edgerun.ops.graph import Unsupported, constant, elements, get, is_op, make, shape_of

from ..edit import before, drop, replace
from .bounds import target_of
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
        attrs, shape, kept = _window(source)
        counts = np.arange(1, elements(attrs["kernel"]) + 1)
        if counts.size > _WINDOW:
            raise Unsupported(f"its window of {counts.size} elements is larger than {_WINDOW}")
        factors = fixed_point(grid.scale / target.grid.scale / counts)
    except Unsupported as refusal:
        source.meta["refused"] = refusal.reason
        return 0
    out = node.outputs[0]
    inputs = [_view(x, shape, node, source), constant(factors)]
    target.put("qaverage_pool", inputs, {**attrs, "x_zero": grid.zero}, kept if kept != shape_of(out) else None)
    return 1


def _operand(source: ir.Node) -> tuple[ir.Value, Grid]:
    found = on_grid(source.inputs[0])
    if found is None:
        raise Unsupported(NOT_QUANTISED)
    return found


def _window(source: ir.Node) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """Attributes of "qaverage_pool", and the shapes in which it sees operand and result: a mean over neighbouring axes is a
    pool over a column of them."""
    shape, out = shape_of(source.inputs[0]), shape_of(source.outputs[0])  # type: ignore[arg-type]
    if is_op(source, "average_pool"):
        return {name: get(source, name) for name in ("kernel", "strides", "pads", "dilations", "count_include_pad")}, shape, out
    axes = tuple(get(source, "axes"))
    if not axes or axes != tuple(range(axes[0], axes[-1] + 1)):
        raise Unsupported(f"a mean over the axes {axes}, which are no neighbours, has no int8 kernel")
    first, height, last = (elements(part) for part in (shape[: axes[0]], shape[axes[0] : axes[-1] + 1], shape[axes[-1] + 1 :]))
    attrs = {"kernel": (height, 1), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "count_include_pad": 0}
    return attrs, (first, height, 1, last), (first, 1, 1, last)


def _view(x: ir.Value, shape: tuple[int, ...], place: ir.Node, like: ir.Node) -> ir.Value:
    return x if shape_of(x) == shape else before(place, make("reshape", [x], {}, [(shape, x.dtype)], like=like))


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
