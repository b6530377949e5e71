"""AffineGrid: the positions of an output's pixels, known ahead of time, times the matrices."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .axes import ints_input
from .compose import Compose, room
from .dtypes import require
from .graph import Unsupported, constant, get, shape_of
from .registry import Legal, legalises


@legalises("AffineGrid")
def affine_grid(legal: Legal) -> ir.Value:
    """theta[N, 2, 3] → grid[N, H, W, 2], or theta[N, 3, 4] → grid[N, D, H, W, 3]; positions run from -1 to 1."""
    c, theta, size = Compose(legal), legal.required(0), ints_input(legal, 1, "size")
    require(theta, frozenset({"f32"}))
    corners = get(legal.node, "align_corners", 0)
    if size is None or len(size) not in (4, 5) or min(size) < 1 or (corners and min(size[2:]) < 2):
        raise Unsupported(f"size {size} with align_corners {corners}")
    spatial = size[2:]
    if shape_of(theta) != (size[0], len(spatial), len(spatial) + 1):
        raise Unsupported(f"theta of shape {shape_of(theta)} for size {size}")
    room(math.prod(spatial) * (len(spatial) + 1))
    lines = [(2 * np.arange(n) - n + 1) / (n - 1 if corners else n) for n in spatial]
    # Coordinates are x, y, z, the last axis first, then the 1 that the translation is multiplied by.
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(spatial)], axis=-1)
    flat = constant(places.reshape(math.prod(spatial), -1).astype(np.float32))
    return c.reshape(c.matmul(flat, c.transpose(theta, (0, 2, 1))), (size[0], *spatial, len(spatial)))
