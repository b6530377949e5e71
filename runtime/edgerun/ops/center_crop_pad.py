"""CenterCropPad: slice and pad."""

from __future__ import annotations

import onnx_ir as ir

from .axes import ints_input
from .compose import Compose
from .dtypes import bits
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises


@legalises("CenterCropPad")
def center_crop_pad(legal: Legal) -> ir.Value:
    """An odd difference is cut, or filled, one more at the end."""
    c, x = Compose(legal), legal.required(0)
    bits(x)
    shape, sizes = shape_of(x), ints_input(legal, 1, "target sizes")
    axes = get(legal.node, "axes")
    axes = tuple(range(len(shape))) if axes is None else tuple(a % max(len(shape), 1) for a in axes)
    if sizes is None or len(sizes) != len(axes) or len(set(axes)) != len(axes) or any(s < 0 for s in sizes):
        raise Unsupported(f"sizes {sizes} for axes {axes} of shape {shape}")
    pads = [0] * (2 * len(shape))
    for axis, size in zip(axes, sizes, strict=True):
        missing = size - shape[axis]
        if missing < 0:
            start = -missing // 2
            x = c.slice(x, axis, start, start + size)
        else:
            pads[axis], pads[axis + len(shape)] = missing // 2, missing - missing // 2
    if not any(pads):
        return x
    wide = [n + pads[d] + pads[d + len(shape)] for d, n in enumerate(shape_of(x))]
    return legal.emit("pad", [x, None], wide, x.dtype, {"pads": pads, "mode": 0})
