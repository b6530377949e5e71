"""Lowerings of the internal "qaverage_pool" (factors [2, window]: one for each count of elements) and "qsoftmax"."""

from __future__ import annotations

import onnx_ir as ir

from .graph import dtype_of, get
from .qconv import levels
from .registry import Lowering, lowers
from .window import flat_attrs, flat_slot


@lowers("qaverage_pool")
def lower_pool(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    attrs = {**flat_attrs(node), **levels(node, "x_zero"), "count_include_pad": (get(node, "count_include_pad"),)}
    ctx.step(f"qaverage_pool2d_{dtype_of(x)}", [flat_slot(ctx, x), ctx.use(node.inputs[1])], [flat_slot(ctx, y)], attrs)


@lowers("qsoftmax")
def lower_softmax(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    attrs = {name: (get(node, name),) for name in ("axis", "inverse") if get(node, name) is not None}
    ctx.step(f"qsoftmax_{dtype_of(x)}", [ctx.use(x), ctx.use(node.inputs[1])], [ctx.use(y)], {**attrs, **levels(node)})
