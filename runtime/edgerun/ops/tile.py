"""Tile: every axis with a repetition becomes two, of which the first is expanded."""

from __future__ import annotations

import onnx_ir as ir

from .axes import ints_input
from .compose import Compose
from .dtypes import bits
from .graph import Unsupported, shape_of
from .registry import Legal, legalises

_MAX_RANK = 8


@legalises("Tile")
def tile(legal: Legal) -> ir.Value:
    x, c = legal.required(0), Compose(legal)
    bits(x)
    shape, repeats = shape_of(x), ints_input(legal, 1, "repeats")
    if repeats is None or len(repeats) != len(shape) or any(r < 0 for r in repeats):
        raise Unsupported(f"repeats {repeats} for shape {shape}")
    split: list[int] = []
    wide: list[int] = []
    for size, repeat in zip(shape, repeats, strict=True):
        split += [1, size] if repeat != 1 else [size]
        wide += [repeat, size] if repeat != 1 else [size]
    if len(split) > _MAX_RANK:
        raise Unsupported(f"{len(split)} dimensions on the way; kernels take up to {_MAX_RANK}")
    result = tuple(s * r for s, r in zip(shape, repeats, strict=True))
    return c.reshape(c.expand(c.reshape(x, split), wide), result)
