"""RotaryEmbedding: pairs of features rotated by the angle of their position."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import require
from .graph import Unsupported, array_of, get, shape_of
from .registry import Legal, legalises


@legalises("RotaryEmbedding")
def rotary(legal: Legal) -> ir.Value:
    """x[B, heads, S, D] or [B, S, heads·D]; caches[B, S, R/2], or [positions, R/2] with position_ids[B, S]. R of D features
    are rotated."""
    c, x, node = Compose(legal), legal.required(0), legal.node
    shape, inner = shape_of(x), c.enter(x)
    if len(shape) == 4:
        inner = c.transpose(inner, (0, 2, 1, 3))
    elif len(shape) == 3 and get(node, "num_heads", 0) > 0 and shape[2] % get(node, "num_heads") == 0:
        heads = get(node, "num_heads")
        inner = c.reshape(inner, (shape[0], shape[1], heads, shape[2] // heads))
    else:
        raise Unsupported(f"shape {shape} with num_heads {get(node, 'num_heads', 0)}")
    batch, length, heads, size = shape_of(inner)
    rotated = get(node, "rotary_embedding_dim", 0) or size
    if rotated % 2 or rotated > size or 0 in shape:
        raise Unsupported(f"{rotated} rotated of {size} features")
    cos, sin = (_cache(c, k, (batch, length, rotated // 2)) for k in (1, 2))
    if get(node, "interleaved", 0):
        a, b = (c.slice(inner, 3, k, rotated - 1 + k, 2) for k in (0, 1))
    else:
        a, b = c.slice(inner, 3, 0, rotated // 2), c.slice(inner, 3, rotated // 2, rotated)
    real = c.apply("sub", c.apply("mul", cos, a), c.apply("mul", sin, b))
    imaginary = c.apply("add", c.apply("mul", sin, a), c.apply("mul", cos, b))
    if get(node, "interleaved", 0):
        pairs = [c.reshape(v, (batch, length, heads, rotated // 2, 1)) for v in (real, imaginary)]
        turned = [c.reshape(c.concat(pairs, 4), (batch, length, heads, rotated))]
    else:
        turned = [real, imaginary]
    rest = [c.slice(inner, 3, rotated, size)] if rotated < size else []
    y = c.concat([*turned, *rest], 3)
    y = c.transpose(y, (0, 2, 1, 3)) if len(shape) == 4 else c.reshape(y, shape)
    return y


def _cache(c: Compose, index: int, shape: tuple[int, int, int]) -> ir.Value:
    """cos or sin as [B, S, 1, R/2]."""
    cache, positions = c.legal.required(index), c.legal.input(3)
    if positions is not None:
        require(positions, frozenset({"i64"}))
        known = array_of(positions)
        size = shape_of(cache)
        if len(size) != 2 or (known is not None and known.size and not -size[0] <= np.min(known) <= np.max(known) < size[0]):
            raise Unsupported(f"positions outside of the cache of shape {size}")
        cache = c.gather(cache, positions, 0)
    if shape_of(cache) != shape:
        raise Unsupported(f"a cache of shape {shape_of(cache)}, not {shape}")
    return c.reshape(c.enter(cache), (*shape[:2], 1, shape[2]))
