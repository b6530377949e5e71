"""DepthToSpace and SpaceToDepth (DCR, CRD): reshape, transpose, reshape."""

from __future__ import annotations

import onnx_ir as ir

from .compose import Compose
from .dtypes import bits
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises


@legalises("DepthToSpace", "SpaceToDepth")
def depth_space(legal: Legal) -> ir.Value:
    """[N, C·b², H, W] ↔ [N, C, H·b, W·b]."""
    x, c, node = legal.required(0), Compose(legal), legal.node
    bits(x)
    shape, block = shape_of(x), get(node, "blocksize", 0)
    if len(shape) != 4 or block < 1:
        raise Unsupported(f"blocksize {block} for shape {shape}")
    n, channels, height, width = shape
    by_channel = get(node, "mode", "DCR") == "CRD"
    if node.op_type == "SpaceToDepth":
        if height % block or width % block:
            raise Unsupported(f"{height} x {width} is not a multiple of blocksize {block}")
        h, w = height // block, width // block
        parts = c.reshape(x, (n, channels, h, block, w, block))
        return c.reshape(c.transpose(parts, (0, 1, 3, 5, 2, 4) if by_channel else (0, 3, 5, 1, 2, 4)), (n, channels * block * block, h, w))
    if channels % (block * block):
        raise Unsupported(f"{channels} channels are not a multiple of blocksize² {block * block}")
    depth = channels // (block * block)
    if by_channel:
        parts, perm = c.reshape(x, (n, depth, block, block, height, width)), (0, 1, 4, 2, 5, 3)
    else:
        parts, perm = c.reshape(x, (n, block, block, depth, height, width)), (0, 3, 4, 1, 5, 2)
    return c.reshape(c.transpose(parts, perm), (n, depth, height * block, width * block))
