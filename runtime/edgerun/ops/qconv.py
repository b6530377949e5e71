"""Lowering of the internal "qconv": x[N,spatial,Ci] i8 or u8, w[Co,K…,Ci/g] i8 or i16, bias[Co]? i32, factors[2,Co]? i32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .graph import array_of, dtype_of, elements, get, operand, shape_of
from .registry import Lowering, lowers
from .window import flat_attrs, flat_slot

LEVELS = ("y_zero", "low", "high")
"""Attributes of a rescaled result; absent where the result is int32."""


def levels(node: ir.Node, *zeros: str) -> dict[str, tuple[int, ...]]:
    """Zero points and bounds of a quantised operator, those that it has."""
    return {name: (get(node, name),) for name in (*zeros, *LEVELS) if get(node, name) is not None}


@lowers("qconv")
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    w = array_of(node.inputs[1])
    assert x is not None and w is not None
    group, channels = get(node, "group"), shape_of(x)[-1]
    if w.ndim == 3:
        w = w[:, None]
    attrs = {**flat_attrs(node), **levels(node, "x_zero")}
    macs = elements(shape_of(y)) * elements(w.shape[1:])
    if group == channels and group > 1:
        kernel, packed = "qconv2d_dw", np.ascontiguousarray(w[..., 0].transpose(1, 2, 0))
    else:
        kernel, packed = "qconv2d", np.ascontiguousarray(w)
        attrs["group"] = (group,)
    name = node.inputs[1].name or ""  # type: ignore[union-attr]
    operands = [flat_slot(ctx, x), ctx.const(packed, name), ctx.use(operand(node, 2)), ctx.use(operand(node, 3))]
    ctx.step(f"{kernel}_{dtype_of(x)}", operands, [flat_slot(ctx, y)], attrs, macs)
