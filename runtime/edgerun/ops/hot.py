"""OneHot, Hardmax, EyeLike: ones where an index is."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .axes import ints_input
from .compose import Compose, room
from .dtypes import N, bits, require
from .graph import Unsupported, constant, get, shape_of
from .registry import Legal, legalises


@legalises("OneHot")
def one_hot(legal: Legal) -> ir.Value:
    """Negative indices count from the end; an index out of range gives all-off. Indices become int64 before they are used."""
    c, indices, values = Compose(legal), legal.required(0), legal.required(2)
    bits(values)
    depth = ints_input(legal, 1, "depth")
    if depth is None or len(depth) != 1 or depth[0] < 1:
        raise Unsupported(f"depth {depth}")
    shape, axis = shape_of(indices), get(legal.node, "axis", -1)
    if not -len(shape) - 1 <= axis <= len(shape) or shape_of(values) != (2,):
        raise Unsupported(f"axis {axis} for indices {shape}, values {shape_of(values)}")
    axis %= len(shape) + 1
    room(depth[0])
    require(indices, N)
    indices = c.cast(indices, ir.DataType.INT64)
    indices = c.reshape(indices, (*shape[:axis], 1, *shape[axis:]))
    places = constant(np.arange(depth[0], dtype=np.int64).reshape(-1, *(1,) * (len(shape) - axis)))
    wrapped = c.apply("where", c.apply("less", indices, 0), c.apply("add", indices, depth[0]), indices)
    off, on = (c.reshape(c.slice(values, 0, k, k + 1), ()) for k in range(2))
    return c.apply("where", c.apply("equal", wrapped, places), on, off)


@legalises("Hardmax")
def hardmax(legal: Legal) -> ir.Value:
    """1 at the first largest element along the axis, else 0. Before opset 13 all axes from `axis` on count as one."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    require(x, frozenset({"f32"}))
    shape = shape_of(x)
    if not shape or 0 in shape:
        raise Unsupported(f"shape {shape}")
    rows, axis = x, get(node, "axis", -1 if legal.opset >= 13 else 1)
    if not -len(shape) <= axis < len(shape) + (legal.opset < 13):
        raise Unsupported(f"axis {axis} of shape {shape}")
    if legal.opset < 13:
        axis = axis if axis >= 0 else axis + len(shape)
        rows, axis = c.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:]))), 1
    size = shape_of(rows)
    axis %= len(size)
    kept = (*size[:axis], 1, *size[axis + 1 :])
    attrs = {"axis": axis, "select_last": 0, "keepdims": 1}
    best = legal.emit("arg_max", [rows], kept, ir.DataType.INT64, attrs)
    places = constant(np.arange(size[axis]).reshape(-1, *(1,) * (len(size) - axis - 1)))
    one, zero = (constant(np.float32(v).reshape(())) for v in (1, 0))
    # NaN in, NaN out: a row that holds one is NaN as a whole, not a choice among the others.
    chosen = c.apply("where", c.apply("equal", best, places), one, zero)
    top = c.reduce("max", rows, (axis,))
    return c.reshape(c.apply("where", c.apply("equal", top, top), chosen, top), shape)


@legalises("EyeLike")
def eye_like(legal: Legal) -> ir.Value:
    """Depends on the shape of the operand only, so it is a constant."""
    x, node = legal.required(0), legal.node
    shape, dtype = shape_of(x), get(node, "dtype")
    kind = x.dtype if dtype is None else ir.DataType(dtype)
    if len(shape) != 2 or kind is None:
        raise Unsupported(f"shape {shape}")
    bits(ir.Value(name="output", type=ir.TensorType(kind)))
    room(math.prod(shape))
    return constant(np.eye(*shape, k=get(node, "k", 0)).astype(kind.numpy()))

