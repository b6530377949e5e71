"""Conv, MatMul and Gemm of quantised operands, with the bounds and the "quantize" after them: one "qconv" or "qmatmul"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgerun.ops.fixed_point import fixed_point
from edgerun.ops.graph import Unsupported, array_of, constant, get, is_op, make, operand, producer, shape_of
from edgerun.ops.integer import weights
from edgerun.ops.quantized import Quantized, quantized_of

from ..edit import before, drop, replace
from .bounds import Target, target_of
from .grid import NOT_QUANTISED, Grid, grid_of, on_grid

_LARGEST = 2**31 - 1
_EXACT = 1e-6
"""How far a bias's scale may be from the product of its operands' scales (a rounding of float32) to be taken as that."""


@dataclass(frozen=True)
class _Sum:
    """Σ (x - x_zero) w + bias in steps of `step`, one for each output channel (float64)."""

    inputs: list[ir.Value | None]
    attrs: dict[str, object]
    step: np.ndarray


def fuse_linear(node: ir.Node) -> int:
    """node: a "quantize". Returns 1 where it became part of a quantised operator."""
    target = target_of(node)
    if target is None or not is_op(target.source, "conv", "matmul"):
        return 0
    try:
        total = _sum(target.source)
        _alone(target)
        channels = shape_of(target.source.outputs[0])[-1]
        factors = fixed_point(np.broadcast_to(total.step / target.grid.scale, (channels,)))
    except Unsupported as refusal:
        target.source.meta["refused"] = refusal.reason
        return 0
    target.put(f"q{target.source.op_type}", [*total.inputs, constant(factors)], total.attrs)
    return 1


def float_linear(node: ir.Node) -> int:
    """node: a "conv" or "matmul" that is left. Where its operands are quantised and only its result is wanted in float, the sums
    are still made of integers: int32, then scale and bias per channel in float32. Not for depthwise convolutions: they have so
    few weights and products that nothing is gained."""
    if is_op(node, "conv") and get(node, "group") > 1 and shape_of(node.inputs[0])[-1] == get(node, "group"):  # type: ignore[arg-type]
        return 0
    try:
        total = _sum(node, biased=False)
    except Unsupported as refusal:
        node.meta.setdefault("refused", refusal.reason)
        return 0
    out = node.outputs[0]
    shape, bias = shape_of(out), array_of(operand(node, 2))
    sums = make(f"q{node.op_type}", [*total.inputs, None], total.attrs, [(shape, ir.DataType.INT32)], like=node)
    if bias is None and total.step.size == 1:
        grid = {"scale": float(total.step[0]), "zero": 0}
        replace(out, before(node, make("dequantize", [before(node, sums)], grid, [(shape, out.dtype)], like=node)))
        drop(node)
        return 1
    real = make("cast", [before(node, sums)], {}, [(shape, ir.DataType.FLOAT)], like=node)
    with np.errstate(all="ignore"):
        vectors = [np.broadcast_to(v, shape[-1:]).astype(np.float32) for v in (total.step, 0.0 if bias is None else bias.reshape(-1))]
    scaled = make("batch_norm", [before(node, real), *map(constant, vectors)], {"axis": len(shape) - 1}, [(shape, out.dtype)], like=node)
    replace(out, before(node, scaled))
    drop(node)
    return 1


def _alone(target: Target) -> None:
    """Raises Unsupported where the float result is wanted by others too."""
    value = (target.chain[-1] if target.chain else target.node).inputs[0]
    assert value is not None
    if value.is_graph_output():
        raise Unsupported("its result is a float output of the model as well")
    if len(value.uses()) > 1:
        raise Unsupported("its result is also used in float" if not _quantised_only(value) else "its result is quantised in two ways")


def _quantised_only(value: ir.Value) -> bool:
    return all(is_op(use.node, "quantize") for use in value.uses())


def _sum(node: ir.Node, biased: bool = True) -> _Sum:
    """The integer form of a "conv" or "matmul", with or without its bias. Raises Unsupported, with the reason."""
    x = _operand(node)
    if operand(node, 3) is not None:
        raise Unsupported("a float tensor is added to its result")
    if is_op(node, "conv"):
        return _conv(node, *x, biased)
    return _matmul(node, *x, biased)


def _operand(node: ir.Node) -> tuple[ir.Value, Grid]:
    """(integers, grid) of the first operand."""
    value = node.inputs[0]
    found = on_grid(value)
    if found is not None:
        return found
    front = producer(value)
    if is_op(front, "dequantize") and front is not None:
        raise Unsupported(f"its input is quantised with {grid_of(front).dtype}, kernels take i8 and u8")
    raise Unsupported(NOT_QUANTISED)


def _conv(node: ir.Node, x: ir.Value, grid: Grid, biased: bool) -> _Sum:
    q = quantized_of(node.inputs[1])
    if q is None:
        raise Unsupported("its weights are not quantised")
    step = grid.scale * _per_channel(q, 0)
    w = weights(q.values, q.zero, tuple(range(1, q.values.ndim)))
    attrs = {name: get(node, name) for name in ("strides", "pads", "dilations", "group")}
    name = node.inputs[1].name if node.inputs[1] is not None else None
    bias = _bias(node, step, w.reshape(w.shape[0], -1).T) if biased else None
    return _Sum([x, constant(w, name), bias], {**attrs, "x_zero": grid.zero}, step)


def _matmul(node: ir.Node, x: ir.Value, grid: Grid, biased: bool) -> _Sum:
    if get(node, "trans_a"):
        raise Unsupported("its first operand is transposed")
    alpha = float(get(node, "alpha"))
    attrs: dict[str, object] = {"a_zero": grid.zero, "b_zero": 0}
    if not alpha > 0:
        raise Unsupported(f"alpha is {alpha}")
    q = quantized_of(node.inputs[1])
    if q is not None and q.values.ndim == 2:
        q = q.transpose((1, 0)) if get(node, "trans_b") else q
        step = grid.scale * alpha * _per_channel(q, 1)
        w = weights(q.values, q.zero, (0,))
        name = node.inputs[1].name if node.inputs[1] is not None else None
        return _Sum([x, constant(w, name), _bias(node, step, w) if biased else None], attrs, step)
    other = on_grid(node.inputs[1])
    if other is None:
        known = array_of(node.inputs[1]) is not None
        raise Unsupported("its weights are not quantised" if known else "its second operand is not quantised")
    b, b_grid = other
    rows = shape_of(b)[-1 if get(node, "trans_b") else -2]
    if grid.reach * b_grid.reach * rows > _LARGEST:
        raise Unsupported("a sum of products could overflow 32 bits")
    if get(node, "trans_b"):
        b = _turned(b, node)
    step = np.full(1, grid.scale * alpha * b_grid.scale)
    return _Sum([x, b, _bias(node, step, None) if biased else None], {**attrs, "b_zero": b_grid.zero}, step)


def _turned(b: ir.Value, node: ir.Node) -> ir.Value:
    """b with its last two axes exchanged."""
    shape, known = shape_of(b), array_of(b)
    perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    if known is not None:
        return constant(known.transpose(perm), b.name)
    return before(node, make("transpose", [b], {"perm": perm}, [(tuple(shape[p] for p in perm), b.dtype)], like=node))


def _per_channel(q: Quantized, axis: int) -> np.ndarray:
    """float64 scales of the output channels, or one for all."""
    scale = q.scale.astype(np.float64)
    if scale.size != scale.shape[axis]:
        raise Unsupported("its weights have several scales within an output channel")
    return scale.reshape(-1)


def _bias(node: ir.Node, step: np.ndarray, w: np.ndarray | None) -> ir.Value | None:
    """The bias in steps, int32; those the model itself holds where it was quantised so. Raises Unsupported where it could
    overflow the sum, w being [inputs, outputs]."""
    value, channels = operand(node, 2), shape_of(node.outputs[0])[-1]
    if value is None:
        return None
    real, q = array_of(value), quantized_of(value)
    if real is None:
        raise Unsupported("its bias is not constant")
    if q is not None and np.all(q.zero == 0) and q.values.ndim == 1 and np.allclose(q.scale, step, rtol=_EXACT, atol=0):
        steps = q.values.astype(np.int64)
    else:
        exact = real.astype(np.float64) if q is None else (q.values.astype(np.float64) - q.zero) * q.scale
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            steps = np.rint(exact.reshape(-1) / step)
        if not np.all(np.abs(steps) <= _LARGEST):
            raise Unsupported("its bias is too large for 32 bits")
        steps = steps.astype(np.int64)
    steps = np.broadcast_to(steps, (channels,))
    if w is not None and np.any(255 * np.abs(w).sum(0, np.int64) + np.abs(steps) > _LARGEST):
        raise Unsupported("a sum of products and the bias could overflow 32 bits")
    return constant(steps.astype(np.int32), value.name)


