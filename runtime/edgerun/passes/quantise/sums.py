"""Sums and differences of functions of one quantised tensor each, with the bounds and the "quantize" after them: one "lut_add"."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import Unsupported, constant, dtype_of, get, is_op, producer, shape_of

from .bounds import target_of
from .expression import Expression

_MOST_TERMS = 8
_MOST_SHIFT = 20
"""An entry is then at most 2^-21 steps off."""
_LARGEST = 2**31 - 1
Term = tuple[ir.Value, np.ndarray]
"""A tensor of bytes, and the 256 numbers (float64) that they stand for."""


def fuse_sum(node: ir.Node) -> int:
    """node: a "quantize", not of two plain tensors (a "qadd" is faster). Returns 1 where it became part of a "lut_add"."""
    target = target_of(node)
    if target is None or not is_op(target.source, "add", "sub"):
        return 0
    terms: list[Term] = []
    if not _collect(target.source, 1, shape_of(node.outputs[0]), terms, _MOST_TERMS):
        return 0
    try:
        tables, shift = _tables(np.stack([real for _, real in terms]), target.grid.scale)
    except Unsupported as refusal:
        target.source.meta["refused"] = refusal.reason
        return 0
    target.put("lut_add", [*(x for x, _ in terms), constant(tables)], {"shift": shift})
    return 1


def _collect(node: ir.Node, sign: int, shape: tuple[int, ...], terms: list[Term], depth: int) -> bool:
    """Whether an "add" or "sub" is a sum of such terms; appends them. What was added in float before is taken apart as well, up
    to `depth` sums in a row."""
    signs = (sign, -sign if is_op(node, "sub") else sign)
    if not depth or dtype_of(node.outputs[0]) != "f32" or get(node, "activation", 0):
        return False
    for value, sign in zip(node.inputs, signs, strict=True):
        expression, front = Expression(), producer(value)
        if value is not None and expression.read(value) and expression.leaf is not None:
            x = expression.leaf[0]
            if len(terms) == _MOST_TERMS or shape_of(x) != shape:
                return False
            with np.errstate(all="ignore"):
                terms.append((x, sign * expression.values(value)))
        elif front is None or not is_op(front, "add", "sub") or not _collect(front, sign, shape, terms, depth - 1):
            return False
    return True


def _tables(real: np.ndarray, scale: float) -> tuple[np.ndarray, int]:
    """(int32 [terms, 256], shift): steps of scale · 2^-shift, as fine as sums of 32 bits allow. Raises Unsupported."""
    with np.errstate(all="ignore"):
        steps = real / scale
    if not np.all(np.isfinite(steps)):
        raise Unsupported("an operand is not finite for every byte")
    for shift in range(_MOST_SHIFT, 0, -1):
        tables = np.rint(np.ldexp(steps, shift))
        if np.abs(tables).max(1).sum() + math.ldexp(1, shift - 1) <= _LARGEST:
            return tables.astype(np.int32), shift
    raise Unsupported("the scale of its result is too small for 32 bits")
