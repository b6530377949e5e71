"""Conv 1-D and 2-D (groups, depthwise, dilation, auto_pad): conv2d_f32, conv2d_dw_f32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .epilogue import epilogue
from .graph import Unsupported, array_of, channels_last, elements, get, operand, shape_of
from .quantized import transposed
from .registry import Legal, Lowering, legalises, lowers
from .window import fit_bias, fit_weights, flat_attrs, flat_slot, geometry, sandwich


@legalises("Conv")
def conv(legal: Legal) -> ir.Value:
    """Internal "conv": x[N,spatial,Ci], w[Co,K…,Ci/g] constant, bias[Co]?, residual? → [N,spatial',Co]."""
    x, y = legal.required(0), legal.node.outputs[0]
    require(x, F)
    bias = legal.input(2)
    if bias is not None and array_of(bias) is None:
        raise Unsupported("bias is not constant")
    return emit_conv(legal, x, legal.required(1), bias, y)


def emit_conv(legal: Legal, x: ir.Value, weights: ir.Value, bias: ir.Value | None, y: ir.Value) -> ir.Value:
    """The node as an internal "conv" of these float32 operands; y tells the shape and dtype of the result."""
    if array_of(weights) is None:
        raise Unsupported("weights are not constant")
    sizes, group = shape_of(weights), get(legal.node, "group", 1)
    fit_weights(legal.node, shape_of(x)[1], sizes, sizes[1] * group)
    fit_bias(legal.node, bias, sizes[0])
    kernel = sizes[2:]
    attrs = geometry(legal.node, kernel, shape_of(x)[2:], shape_of(y)[2:])
    w = transposed(weights, channels_last(len(kernel) + 2))
    return sandwich(legal, "conv", x, [w, bias, None], y, {**attrs, "group": group})


@lowers("conv")
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    w = array_of(node.inputs[1])
    assert x is not None and w is not None
    group, channels = get(node, "group"), shape_of(x)[-1]
    if w.ndim == 3:
        w = w[:, None]
    attrs = {**flat_attrs(node), **epilogue(node)}
    macs = elements(shape_of(y)) * elements(w.shape[1:])
    if group == channels and group > 1:
        kernel, packed = "conv2d_dw_f32", np.ascontiguousarray(w[..., 0].transpose(1, 2, 0))
    else:
        kernel, packed = "conv2d_f32", np.ascontiguousarray(w)
        attrs["group"] = (group,)
    name = node.inputs[1].name or ""  # type: ignore[union-attr]
    ctx.step(
        kernel,
        [flat_slot(ctx, x), ctx.const(packed, name), ctx.use(operand(node, 2)), flat_slot(ctx, operand(node, 3))],
        [flat_slot(ctx, y)],
        attrs,
        macs,
    )
