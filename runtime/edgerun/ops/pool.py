"""MaxPool, AveragePool (1-D and 2-D): max_pool2d_f32 (and of bytes), average_pool2d_f32. Global pools: see reduce.py."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, dtype_of, get, shape_of
from .integer import BYTES
from .reduce import global_pool
from .registry import Legal, Lowering, legalises, lowers
from .window import flat_attrs, flat_slot, geometry, sandwich


@legalises("MaxPool")
def max_pool(legal: Legal) -> ir.Value:
    if legal.output_used(1):
        raise Unsupported("output Indices is used")
    return _pool(legal, "max_pool", {})


@legalises("AveragePool")
def average_pool(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    whole = shape_of(x)[2:] == tuple(get(node, "kernel_shape")) and not any(get(node, "pads") or ())
    if whole and len(shape_of(x)) > 2 and all(n == 1 for n in shape_of(node.outputs[0])[2:]):
        return global_pool(legal)
    return _pool(legal, "average_pool", {"count_include_pad": get(legal.node, "count_include_pad", 0)})


def _pool(legal: Legal, op: str, attrs: dict[str, int]) -> ir.Value:
    x, y = legal.required(0), legal.node.outputs[0]
    require(x, F | BYTES if op == "max_pool" else F)
    kernel = tuple(get(legal.node, "kernel_shape"))
    shape = geometry(legal.node, kernel, shape_of(x)[2:], shape_of(y)[2:])
    return sandwich(legal, op, x, [], y, {"kernel": kernel, **shape, **attrs})


@lowers("max_pool", "average_pool")
def lower(node: ir.Node, ctx: Lowering) -> None:
    attrs = flat_attrs(node)
    if node.op_type == "average_pool":
        attrs["count_include_pad"] = (get(node, "count_include_pad"),)
    kernel = f"{node.op_type}2d_{dtype_of(node.inputs[0])}"  # type: ignore[arg-type]
    ctx.step(kernel, [flat_slot(ctx, node.inputs[0])], [flat_slot(ctx, node.outputs[0])], attrs)
