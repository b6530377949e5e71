"""Pad (constant, reflect, edge, wrap; negative pads crop): pad_x8 … x64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from .axes import ints_input
from .dtypes import bits
from .graph import Unsupported, constant, get, inverse, permuted, shape_of
from .registry import Legal, Lowering, legalises, lowers, remaps

MODES = {"constant": 0, "reflect": 1, "edge": 2, "wrap": 3}


@legalises("Pad")
def pad(legal: Legal) -> ir.Value:
    x, node = legal.required(0), legal.node
    bits(x)
    shape = shape_of(x)
    value: ir.Value | None = None
    if legal.opset < 11:
        pads = tuple(get(node, "pads") or get(node, "paddings"))
        if get(node, "value", 0.0) != 0.0:
            value = constant(np.asarray(get(node, "value"), x.dtype.numpy()))  # type: ignore[union-attr]
    else:
        given = ints_input(legal, 1, "pads")
        if given is None:
            raise Unsupported("pads are absent")
        pads, value = given, legal.input(2)
        axes = ints_input(legal, 3, "axes")
        if axes is not None:
            full = [0] * (2 * len(shape))
            for k, axis in enumerate(axes):
                full[axis % len(shape)], full[axis % len(shape) + len(shape)] = pads[k], pads[k + len(axes)]
            pads = tuple(full)
    if not any(pads):
        return x
    size = [n + pads[d] + pads[d + len(shape)] for d, n in enumerate(shape)]
    return legal.emit("pad", [x, value], size, x.dtype, {"pads": pads, "mode": MODES[get(node, "mode", "constant")]})


@remaps("pad")
def remap(node: ir.Node, perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    pads, back = get(node, "pads"), inverse(perm)
    half = len(pads) // 2
    return {"pads": (*permuted(pads[:half], back), *permuted(pads[half:], back))}, perm


@lowers("pad")
def lower(node: ir.Node, ctx: Lowering) -> None:
    y = node.outputs[0]
    ctx.step(
        f"pad_{bits(y)}",
        [ctx.use(v) for v in node.inputs],
        [ctx.use(y)],
        {"pads": get(node, "pads"), "mode": (get(node, "mode"),)},
    )
