"""Add, Sub and Mul of two quantised tensors, with the bounds and the "quantize" after them: one "qadd" or "qmul"."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgerun.ops.fixed_point import fixed_point
from edgerun.ops.graph import Unsupported, array_of, is_op

from .bounds import Target, target_of
from .grid import Grid, on_grid

_LARGEST = 2**31 - 1
_MOST_SHIFT = 30
ONE_NOT_QUANTISED = "one operand is not quantised"
"""A refusal that `reasons` says more about."""


def fuse_binary(node: ir.Node) -> int:
    """node: a "quantize". Returns 1 where it became part of a quantised operator."""
    target = target_of(node)
    if target is None or not is_op(target.source, "add", "sub", "mul"):
        return 0
    source = target.source
    try:
        (a, a_grid), (b, b_grid) = (_operand(v) for v in source.inputs)
        product = is_op(source, "mul")
        attrs = _product(a_grid, b_grid, target) if product else _sum(a_grid, b_grid, target)
    except Unsupported as refusal:
        source.meta["refused"] = refusal.reason
        return 0
    if a.const_value is not None:  # the kernel is named after a computed operand
        a, b = b, a
        attrs |= {f"a_{k}": attrs[f"b_{k}"] for k in ("zero", "mult") if f"b_{k}" in attrs} | {
            f"b_{k}": attrs[f"a_{k}"] for k in ("zero", "mult") if f"a_{k}" in attrs}
    target.put("qmul" if product else "qadd", [a, b], dict(attrs))
    return 1


def _operand(value: ir.Value | None) -> tuple[ir.Value, Grid]:
    found = on_grid(value)
    if found is None:
        raise Unsupported("one operand is a float constant" if array_of(value) is not None else ONE_NOT_QUANTISED)
    return found


def _product(a: Grid, b: Grid, target: Target) -> dict[str, int]:
    m, left = fixed_point(a.scale * b.scale / target.grid.scale)[:, 0]
    return {"a_zero": a.zero, "b_zero": b.zero, "m": int(m), "left": int(left)}


def _sum(a: Grid, b: Grid, target: Target) -> dict[str, int]:
    """Factors of both operands over 2^shift, as finely as 32 bits allow."""
    factors = np.array([a.scale, b.scale], np.float64) / target.grid.scale
    if is_op(target.source, "sub"):
        factors[1] = -factors[1]
    for shift in range(_MOST_SHIFT, 0, -1):
        scaled = np.rint(np.ldexp(factors, shift))
        if abs(scaled[0]) * a.reach + abs(scaled[1]) * b.reach + math.ldexp(1, shift - 1) <= _LARGEST:
            return {"a_zero": a.zero, "b_zero": b.zero, "a_mult": int(scaled[0]), "b_mult": int(scaled[1]), "shift": shift}
    raise Unsupported("the scale of its result is too small for 32 bits")


