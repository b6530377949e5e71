"""Gemm and MatMul: matmul_f32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.errors import ShapeError

from .dtypes import F, require
from .epilogue import epilogue
from .graph import array_of, constant, elements, get, operand, shape_of
from .quantized import reshaped
from .registry import Legal, Lowering, legalises, lowers


@legalises("MatMul")
def matmul(legal: Legal) -> ir.Value:
    """Internal "matmul": a[…,M,K], b[…,K,N], bias[N]?, residual? with trans_a, trans_b, alpha."""
    a, b = legal.required(0), legal.required(1)
    require(a, F)
    return emit_matmul(legal, a, b, "matmul", {"trans_a": 0, "trans_b": 0, "alpha": 1.0}, a.dtype)


def emit_matmul(
    legal: Legal, a: ir.Value, b: ir.Value, op: str, attrs: dict[str, int | float], dtype: ir.DataType | None
) -> ir.Value:
    """An internal product of the node's shape; vectors are reshaped around it."""
    target = shape_of(legal.node.outputs[0])
    sa, sb, shape = shape_of(a), shape_of(b), target
    if len(sa) == 1:
        a, shape = (
            legal.emit("reshape", [a], (1, *sa), a.dtype),
            (*shape[:-1], 1, *shape[-1:]) if len(sb) > 1 else (1, *shape),
        )
    if len(sb) == 1:
        shape = (*shape, 1)
        b = legal.emit("reshape", [b], (*sb, 1), b.dtype) if array_of(b) is None else reshaped(b, (*sb, 1))
    result = legal.emit(op, [a, b, None, None], shape, dtype, attrs)
    return result if shape == target else legal.emit("reshape", [result], target, dtype)


@legalises("Gemm")
def gemm(legal: Legal) -> ir.Value:
    a, b, c, node = legal.required(0), legal.required(1), legal.input(2), legal.node
    require(a, F)
    shape = shape_of(node.outputs[0])
    attrs = {"trans_a": get(node, "transA", 0), "trans_b": get(node, "transB", 0), "alpha": get(node, "alpha", 1.0)}
    _fit(legal, shape_of(a)[0 if attrs["trans_a"] else -1], shape_of(b)[-1 if attrs["trans_b"] else 0], shape, c)
    y = legal.emit("matmul", [a, b, None, None], shape, a.dtype, attrs)
    beta = get(node, "beta", 1.0)
    if c is None or beta == 0.0:
        return y
    array = array_of(c)
    if array is not None and beta != 1.0:
        c = constant((np.float32(beta) * array).astype(np.float32), c.name)
    elif beta != 1.0:
        c = legal.emit("mul", [c, constant(np.float32(beta).reshape(()))], shape_of(c), a.dtype)
    return legal.emit("add", [y, c], shape, a.dtype)


def _fit(legal: Legal, columns: int, rows: int, shape: tuple[int, ...], c: ir.Value | None) -> None:
    """ShapeError where operands that onnx's shape inference lets pass do not fit."""
    where = f"Gemm, node '{legal.node.name or ''}'"
    if columns != rows:
        raise ShapeError(f"{where}: expected A with as many columns as B has rows, found {columns} and {rows}")
    if c is None:
        return
    short = shape_of(c)
    if len(short) > 2 or any(have not in (1, want) for have, want in zip(short[::-1], shape[::-1], strict=False)):
        raise ShapeError(f"{where}: expected C to stretch to {list(shape)}, found {list(short)}")


@lowers("matmul")
def lower(node: ir.Node, ctx: Lowering) -> None:
    a, y = node.inputs[0], node.outputs[0]
    assert a is not None
    trans_a = get(node, "trans_a")
    k = shape_of(a)[-2 if trans_a else -1]
    attrs = {
        "trans_a": (trans_a,),
        "trans_b": (get(node, "trans_b"),),
        "alpha": (get(node, "alpha"),),
        **epilogue(node),
    }
    ctx.step(
        "matmul_f32", [ctx.use(operand(node, i)) for i in range(4)], [ctx.use(y)], attrs, elements(shape_of(y)) * k
    )
