"""ConvTranspose 1-D and 2-D: conv_transpose2d_f32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import F, require
from .epilogue import epilogue
from .graph import Unsupported, array_of, constant, elements, get, operand, shape_of
from .registry import Legal, Lowering, legalises, lowers
from .window import fit_bias, fit_weights, flat_attrs, flat_slot, sandwich


@legalises("ConvTranspose")
def conv_transpose(legal: Legal) -> ir.Value:
    """Internal "conv_transpose": x[N,spatial,Ci], w[Co/g,K…,Ci] constant, bias[Co]? → [N,spatial',Co]."""
    x, y, node = legal.required(0), legal.node.outputs[0], legal.node
    require(x, F)
    weights = array_of(legal.input(1))
    if weights is None:
        raise Unsupported("weights are not constant")
    bias = legal.input(2)
    if bias is not None and array_of(bias) is None:
        raise Unsupported("bias is not constant")
    rank = weights.ndim - 2
    if rank not in (1, 2):
        raise Unsupported(f"{rank} spatial dimensions (1 and 2 have kernels)")
    fit_weights(node, shape_of(x)[1], weights.shape, weights.shape[0])
    fit_bias(node, bias, weights.shape[1] * get(node, "group", 1))
    attrs = {
        "strides": tuple(get(node, "strides") or (1,) * rank),
        "dilations": tuple(get(node, "dilations") or (1,) * rank),
        "pads": _pads(node, weights.shape[2:], shape_of(x)[2:], shape_of(y)[2:]),
        "group": get(node, "group", 1),
    }
    w = constant(np.moveaxis(weights, 0, -1), legal.required(1).name)
    return sandwich(legal, "conv_transpose", x, [w, bias], y, attrs)


def _pads(node: ir.Node, kernel: tuple[int, ...], sizes: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...]:
    """Begins then ends. With output_shape or auto_pad they follow from the output size (ONNX ConvTranspose,
    "total_padding")."""
    rank = len(kernel)
    auto = get(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        return (0,) * (2 * rank)
    if auto == "NOTSET" and get(node, "output_shape") is None:
        return tuple(get(node, "pads") or (0,) * (2 * rank))
    strides, dilations = get(node, "strides") or (1,) * rank, get(node, "dilations") or (1,) * rank
    extra = get(node, "output_padding") or (0,) * rank
    begins, ends = [], []
    for d in range(rank):
        total = max(0, strides[d] * (sizes[d] - 1) + extra[d] + (kernel[d] - 1) * dilations[d] + 1 - out[d])
        small, big = total // 2, total - total // 2
        begins.append(small if auto == "SAME_UPPER" else big)
        ends.append(big if auto == "SAME_UPPER" else small)
    return (*begins, *ends)


@lowers("conv_transpose")
def lower(node: ir.Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    w = array_of(node.inputs[1])
    assert x is not None and w is not None
    if w.ndim == 3:
        w = w[:, None]
    macs = elements(shape_of(x)) * elements(w.shape[:3])
    ctx.step(
        "conv_transpose2d_f32",
        [
            flat_slot(ctx, x),
            ctx.const(np.ascontiguousarray(w), node.inputs[1].name or ""),  # type: ignore[union-attr]
            ctx.use(operand(node, 2)),
        ],
        [flat_slot(ctx, y)],
        {**flat_attrs(node), "group": (get(node, "group"),), **epilogue(node)},
        macs,
    )
