"""What convolution and pooling share: strides, dilations, padding, 1-D as 2-D of height one."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgerun.errors import ShapeError

from .graph import Unsupported, channels_first, channels_last, get, permuted, shape_of
from .registry import Legal, Lowering


def fit_weights(node: ir.Node, channels: int, weights: tuple[int, ...], given: int) -> None:
    """ShapeError where weights [.., .., kernel…] do not fit what shape inference went by: the input's channels against `given`
    (those the weights are for) and attribute kernel_shape."""
    where = f"{node.op_type}, node '{node.name or ''}'"
    if channels != given:
        raise ShapeError(f"{where}: expected an input of {given} channels for weights {list(weights)}, found {channels}")
    kernel = get(node, "kernel_shape")
    if kernel is not None and tuple(kernel) != weights[2:]:
        raise ShapeError(f"{where}: expected kernel_shape {list(weights[2:])} as the weights have, found {list(kernel)}")


def fit_bias(node: ir.Node, bias: ir.Value | None, outputs: int) -> None:
    """ShapeError where a bias is not one number for each of the output channels."""
    if bias is not None and shape_of(bias) != (outputs,):
        raise ShapeError(f"{node.op_type}, node '{node.name or ''}': expected a bias of shape [{outputs}], one for each output channel, "
                         f"found {list(shape_of(bias))}")


def geometry(
    node: ir.Node, kernel: Sequence[int], sizes: Sequence[int], out_sizes: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """strides, pads (all begins, then all ends) and dilations of a node over `sizes` spatial dimensions."""
    rank = len(sizes)
    if rank not in (1, 2):
        raise Unsupported(f"{rank} spatial dimensions (1 and 2 have kernels)")
    strides = tuple(get(node, "strides") or (1,) * rank)
    dilations = tuple(get(node, "dilations") or (1,) * rank)
    pads = tuple(get(node, "pads") or (0,) * (2 * rank))
    auto = get(node, "auto_pad", "NOTSET")
    if auto == "VALID":
        pads = (0,) * (2 * rank)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        begins, ends = [], []
        for d in range(rank):
            span = (kernel[d] - 1) * dilations[d] + 1
            total = max(0, (out_sizes[d] - 1) * strides[d] + span - sizes[d])
            small, big = total // 2, total - total // 2
            begins.append(small if auto == "SAME_UPPER" else big)
            ends.append(big if auto == "SAME_UPPER" else small)
        pads = (*begins, *ends)
    return {"strides": strides, "pads": pads, "dilations": dilations}


def sandwich(
    legal: Legal, op: str, x: ir.Value, rest: Sequence[ir.Value | None], y: ir.Value, attrs: dict[str, object]
) -> ir.Value:
    """Emit transpose → channels-last `op` → transpose. The layout pass removes what cancels."""
    rank = len(shape_of(x))
    last, first = channels_last(rank), channels_first(rank)
    inner = legal.emit("transpose", [x], permuted(shape_of(x), last), x.dtype, {"perm": last})
    result = legal.emit(op, [inner, *rest], permuted(shape_of(y), last), y.dtype, attrs)
    return legal.emit("transpose", [result], shape_of(y), y.dtype, {"perm": first})


def flat_slot(ctx: Lowering, value: ir.Value | None) -> int:
    """Slot of a channels-last value as rank 4: [N, L, C] is seen as [N, 1, L, C]."""
    slot = ctx.use(value)
    if value is None or len(shape_of(value)) != 3:
        return slot
    n, length, c = shape_of(value)
    return ctx.view(slot, (n, 1, length, c))


def flat_attrs(node: ir.Node) -> dict[str, tuple[int, ...]]:
    """strides, pads, dilations (and kernel, where present) as the 2-D kernels take them."""
    result = {}
    for name, fill in (("strides", 1), ("dilations", 1), ("kernel", 1)):
        values = get(node, name)
        if values is not None:
            result[name] = (fill, *values) if len(values) == 1 else tuple(values)
    pads = get(node, "pads")
    result["pads"] = (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)
    return result
