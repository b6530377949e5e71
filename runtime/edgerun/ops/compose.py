"""Writing an operator as its definition in internal operators: shapes and dtypes follow from the operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, constant, permuted, shape_of
from .registry import Legal

_TESTS = frozenset({"equal", "greater", "less", "greater_or_equal", "less_or_equal", "and", "or", "not"})

Operand: TypeAlias = ir.Value | float

LARGEST = 1 << 24
"""Elements of a constant that the model's author need not have stored."""


class Compose:
    """Emits internal nodes. Operands are values, or numbers where another operand tells their dtype."""

    def __init__(self, legal: Legal) -> None:
        self.legal = legal

    def enter(self, x: ir.Value) -> ir.Value:
        """x, which must be float32: halves have become it before (widen.py). Raises Unsupported."""
        require(x, F)
        return x

    def cast(self, x: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        return x if x.dtype == dtype else self.legal.emit("cast", [x], shape_of(x), dtype)

    def apply(self, op: str, *operands: Operand, **attrs: float) -> ir.Value:
        """A broadcasting elementwise operator; comparisons and logic give booleans, `where` has the dtype of its choices."""
        like = next(v for v in operands[1 if op == "where" else 0 :] if isinstance(v, ir.Value))
        values = [v if isinstance(v, ir.Value) else number(v, like) for v in operands]
        shape = np.broadcast_shapes(*(shape_of(v) for v in values))
        return self.legal.emit(op, values, shape, ir.DataType.BOOL if op in _TESTS else like.dtype, attrs)

    def reduce(self, name: str, x: ir.Value, axes: Sequence[int], keepdims: bool = True) -> ir.Value:
        """name: mean, sum, max, min or prod; no axes leave x as it is."""
        if not axes:
            return x
        shape = [1 if d in axes else n for d, n in enumerate(shape_of(x)) if keepdims or d not in axes]
        attrs = {"axes": tuple(sorted(axes)), "keepdims": int(keepdims)}
        return self.legal.emit(f"reduce_{name}", [x], shape, x.dtype, attrs)

    def reshape(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        return x if shape_of(x) == tuple(shape) else self.legal.emit("reshape", [x], shape, x.dtype)

    def transpose(self, x: ir.Value, perm: Sequence[int]) -> ir.Value:
        if tuple(perm) == tuple(range(len(perm))):
            return x
        return self.legal.emit("transpose", [x], permuted(shape_of(x), perm), x.dtype, {"perm": tuple(perm)})

    def expand(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        return x if shape_of(x) == tuple(shape) else self.legal.emit("expand", [x], shape, x.dtype)

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Values without elements are left out, unless all are."""
        filled = [v for v in values if 0 not in shape_of(v)] or [values[0]]
        if len(filled) == 1:
            return filled[0]
        shape = list(shape_of(filled[0]))
        shape[axis] = sum(shape_of(v)[axis] for v in filled)
        return self.legal.emit("concat", filled, shape, filled[0].dtype, {"axis": axis % len(shape)})

    def slice(self, x: ir.Value, axis: int, start: int, stop: int, step: int = 1) -> ir.Value:
        """x[…, start:stop:step, …] for 0 <= start <= stop <= size and a positive step."""
        shape = list(shape_of(x))
        axis %= len(shape)
        if (start, stop, step) == (0, shape[axis], 1):
            return x
        begin, stride = [0] * len(shape), [1] * len(shape)
        shape[axis] = len(range(start, stop, step))
        begin[axis], stride[axis] = start if shape[axis] else 0, step
        return self.legal.emit("slice", [x], shape, x.dtype, {"starts": begin, "steps": stride})

    def gather(self, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
        shape = shape_of(x)
        return self.legal.emit("gather", [x, indices], (*shape[:axis], *shape_of(indices), *shape[axis + 1 :]), x.dtype, {"axis": axis})

    def matmul(self, a: ir.Value, b: ir.Value, transposed: bool = False, alpha: float = 1.0) -> ir.Value:
        """alpha·a[…, M, K] @ b[…, K, N], or b[…, N, K] when transposed."""
        left, right = shape_of(a), shape_of(b)
        shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-2 if transposed else -1])
        attrs = {"trans_a": 0, "trans_b": int(transposed), "alpha": alpha}
        return self.legal.emit("matmul", [a, b, None, None], shape, a.dtype, attrs)

    def softmax(self, x: ir.Value, axis: int, log: bool = False) -> ir.Value:
        op = "log_softmax" if log else "softmax"
        return self.legal.emit(op, [x], shape_of(x), x.dtype, {"axis": axis % len(shape_of(x))})


def number(value: float, like: ir.Value) -> ir.Value:
    """A scalar constant of the dtype of another value."""
    return constant(np.asarray(value, like.dtype.numpy()))  # type: ignore[union-attr]


def room(count: int) -> None:
    """Raises Unsupported for a constant of more than `LARGEST` elements."""
    if count > LARGEST:
        raise Unsupported(f"a constant of {count} elements")
