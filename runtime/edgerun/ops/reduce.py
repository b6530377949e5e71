"""ReduceMean Sum Max Min Prod, and GlobalAveragePool / GlobalMaxPool, which are reductions over the spatial axes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .axes import axes_of, without
from .dtypes import require
from .graph import Unsupported, dtype_of, get, permuted, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps

_NAMES = ("mean", "sum", "max", "min", "prod")
_INTEGER = frozenset({"f32", "i32", "i64"})
_OPS = tuple(f"reduce_{name}" for name in _NAMES)


@legalises(*(f"Reduce{name.capitalize()}" for name in _NAMES))
def reduce(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    name = node.op_type.removeprefix("Reduce").lower()
    require(x, _INTEGER if name in ("sum", "max", "min") else frozenset({"f32"}))
    rank = len(shape_of(x))
    axes = axes_of(legal, rank)
    if not axes:
        if get(node, "noop_with_empty_axes", 0):
            return x
        axes = tuple(range(rank))
    if rank == 0:
        return x
    return _emit(legal, f"reduce_{name}", x, tuple(sorted(axes)), get(node, "keepdims", 1))


@legalises("GlobalAveragePool", "GlobalMaxPool")
def global_pool(legal: Legal) -> ir.Value:
    """Also serves an AveragePool whose window is the whole image."""
    x = legal.required(0)
    require(x, frozenset({"f32"}))
    op = "reduce_max" if legal.node.op_type == "GlobalMaxPool" else "reduce_mean"
    if len(shape_of(x)) < 3:
        raise Unsupported("no spatial dimensions")
    return _emit(legal, op, x, tuple(range(2, len(shape_of(x)))), 1)


def _emit(legal: Legal, op: str, x: ir.Value, axes: tuple[int, ...], keepdims: int) -> ir.Value:
    shape = tuple(1 if d in axes else n for d, n in enumerate(shape_of(x)) if keepdims or d not in axes)
    return legal.emit(op, [x], shape, x.dtype, {"axes": axes, "keepdims": keepdims})


@remaps(*_OPS)
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    axes = tuple(sorted(permuted(perm, get(node, "axes"))))
    return {"axes": axes}, perm if get(node, "keepdims") else without(perm, axes)


@lowers(*_OPS)
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    shape, axes = shape_of(x), tuple(get(node, "axes"))
    pool = {"reduce_mean": "global_average_pool_f32", "reduce_max": "global_max_pool_f32"}.get(node.op_type)
    if pool and len(shape) >= 3 and axes == tuple(range(1, len(shape) - 1)) and dtype_of(x) == "f32":
        kept = (shape[0], *(1,) * (len(shape) - 2), shape[-1])
        ctx.step(pool, [ctx.use(x)], [ctx.view(ctx.use(y), kept)])
    else:
        ctx.step(f"{node.op_type}_{dtype_of(x)}", [ctx.use(x)], [ctx.use(y)], {"axes": axes})
