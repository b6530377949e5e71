"""Compress by a condition known ahead of time: gather. Others depend on data (executors/shaped.py)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import bits
from .graph import Unsupported, array_of, constant, elements, get, shape_of
from .registry import Legal, legalises


def kept(node: ir.Node) -> tuple[np.ndarray, tuple[int, ...], int] | None:
    """(positions, shape they are taken from, axis) of a Compress whose condition is constant; else None."""
    condition, x = array_of(node.inputs[1]), node.inputs[0]
    if condition is None or x is None or x.shape is None or not x.shape.is_static():
        return None
    axis, shape = get(node, "axis"), x.shape.numpy()
    shape = (elements(shape),) if axis is None else shape
    return np.flatnonzero(condition), tuple(shape), 0 if axis is None else axis


@legalises("Compress")
def compress(legal: Legal) -> ir.Value:
    c, x = Compose(legal), legal.required(0)
    bits(x)
    found = kept(legal.node)
    if found is None:
        raise Unsupported("the condition is not constant")
    positions, shape, axis = found
    if positions.size and positions[-1] >= shape[axis]:
        raise Unsupported(f"position {positions[-1]} of {shape[axis]}")
    return c.gather(c.reshape(x, shape), constant(positions.astype(np.int64)), axis % len(shape_of(x)) if len(shape) > 1 else 0)
