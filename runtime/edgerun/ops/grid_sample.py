"""GridSample over one to three spatial dimensions: grid_sample_f32."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, attributes, get, shape_of
from .registry import Legal, Lowering, legalises, lowers
from .window import sandwich

MODES = {"linear": 0, "bilinear": 0, "nearest": 1, "cubic": 2, "bicubic": 2}
PADDING = {"zeros": 0, "border": 1, "reflection": 2}
MOST_AXES = 3


@legalises("GridSample")
def grid_sample(legal: Legal) -> ir.Value:
    x, grid, node = legal.required(0), legal.required(1), legal.node
    require(x, F)
    require(grid, F)
    mode, padding = get(node, "mode", "linear"), get(node, "padding_mode", "zeros")
    if mode not in MODES or padding not in PADDING:
        raise Unsupported(f"mode {mode}, padding_mode {padding}")
    axes = len(shape_of(x)) - 2
    if not 1 <= axes <= MOST_AXES or shape_of(grid)[-1] != axes:
        raise Unsupported(f"a grid of shape {list(shape_of(grid))} for {axes} spatial dimensions")
    attrs: dict[str, object] = {"mode": MODES[mode], "padding": PADDING[padding], "align_corners": int(bool(get(node, "align_corners", 0)))}
    return sandwich(legal, "grid_sample", x, [grid], node.outputs[0], attrs)


@lowers("grid_sample")
def lower(node: ir.Node, ctx: Lowering) -> None:
    attrs = {k: (v,) for k, v in attributes(node).items()}
    ctx.step("grid_sample_f32", [ctx.use(v) for v in node.inputs], [ctx.use(node.outputs[0])], attrs)
