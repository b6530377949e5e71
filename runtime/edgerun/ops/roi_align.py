"""RoiAlign: roi_align_f32."""

from __future__ import annotations

import onnx_ir as ir

from .dtypes import F, require
from .graph import Unsupported, attributes, get
from .registry import Legal, Lowering, legalises, lowers
from .window import sandwich

MODES = {"avg": 0, "max": 1}
MOST_SAMPLES = 1024


@legalises("RoiAlign")
def roi_align(legal: Legal) -> ir.Value:
    x, rois, index, node = legal.required(0), legal.required(1), legal.required(2), legal.node
    require(x, F)
    require(rois, F)
    require(index, frozenset({"i32", "i64"}))
    mode, ratio = get(node, "mode", "avg"), get(node, "sampling_ratio", 0)
    if mode not in MODES or not 0 <= ratio <= MOST_SAMPLES:
        raise Unsupported(f"mode {mode}, sampling_ratio {ratio}")
    # Before opset 16 there was no shift.
    half = legal.opset >= 16 and get(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel"
    attrs = {"mode": MODES[mode], "half_pixel": int(half), "sampling_ratio": ratio, "spatial_scale": float(get(node, "spatial_scale", 1.0))}
    return sandwich(legal, "roi_align", x, [rois, index], node.outputs[0], attrs)


@lowers("roi_align")
def lower(node: ir.Node, ctx: Lowering) -> None:
    attrs = {k: (v,) for k, v in attributes(node).items()}
    ctx.step("roi_align_f32", [ctx.use(v) for v in node.inputs], [ctx.use(node.outputs[0])], attrs)
