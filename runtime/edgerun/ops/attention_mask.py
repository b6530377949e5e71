"""Which keys a query of Attention may see: attn_mask, causality, window, number of valid keys.

A hidden key's score is lowered by min(score, -inf), which keeps NaN as score + (-inf) does. An addition would be fused
into the matrix product in front of it, whose results are checked for being finite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .compose import Compose, room
from .dtypes import require
from .graph import Unsupported, array_of, constant, get, shape_of

_ALWAYS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Mask:
    """cap: +inf where a query sees a key, else -inf. added: finite constants or values of a float mask. dead: queries that
    see nothing (boolean, one key wide), None where that cannot be."""

    c: Compose
    cap: ir.Value | None
    added: ir.Value | None
    dead: ir.Value | None

    def add_to(self, scores: ir.Value) -> ir.Value:
        if self.added is not None and self.added.const_value is not None:
            scores = self.c.apply("add", scores, self.added)
        elif self.added is not None:  # as a subtraction, because it may hold -inf (see above)
            scores = self.c.apply("sub", scores, self.c.apply("neg", self.added))
        return scores if self.cap is None else self.c.apply("min", scores, self.cap)


def mask_of(c: Compose, shape: tuple[int, int, int, int], new: int) -> Mask:
    """The mask of scores [batch, heads, queries, keys]; `new` keys came with the node, those before them are the past."""
    known, conditions = _positions(c, shape, new)
    given, added = c.legal.input(3), None
    if given is not None:
        given = _padded(c, given, shape)
        array = array_of(given)
        if given.dtype == ir.DataType.BOOL:
            known, conditions = (known & array, conditions) if array is not None else (known, [*conditions, given])
        elif array is not None:
            values = array.astype(np.float32)
            known = known & ~np.isneginf(values)
            added = constant(np.where(np.isneginf(values), np.float32(0), values)) if np.any(values[~np.isneginf(values)]) else None
        else:
            added = c.enter(given)
    fixed = added is None or added.const_value is not None
    cap = None
    if conditions:
        allowed = conditions[0]
        for condition in (*conditions[1:], *(() if known.all() else (constant(known),))):
            allowed = c.apply("and", allowed, condition)
        cap = c.apply("where", allowed, constant(np.float32(math.inf).reshape(())), -math.inf)
    elif not known.all():
        cap = constant(np.where(known, np.float32(math.inf), np.float32(-math.inf)))
    if conditions or not fixed:
        bias = cap if fixed else added if cap is None else c.apply("min", added, cap)  # type: ignore[arg-type]
        assert bias is not None
        dead = c.apply("equal", c.reduce("max", bias, (len(shape_of(bias)) - 1,)), -math.inf)
        return Mask(c, cap, added, dead)
    unseen = ~known.any(axis=-1, keepdims=True)
    return Mask(c, cap, added, constant(np.asarray(unseen)) if unseen.any() else None)


def _positions(c: Compose, shape: tuple[int, int, int, int], new: int) -> tuple[np.ndarray, list[ir.Value]]:
    """What position alone allows: as a constant [(batch, 1,) queries, keys], and as conditions of run time.

    With offset = number of keys before the first query, query i sees key j where low <= offset <= high: j - i for causality,
    j - i - right and j - i + left for a window, j + 1 - queries for keys that are valid at all.
    """
    node, (batch, _, queries, keys) = c.legal.node, shape
    left, right = get(node, "left_window_size", -1), get(node, "right_window_size", -1)
    room(queries * keys)
    distance = np.arange(keys) - np.arange(queries)[:, None]
    low, high = np.full((queries, keys), -_ALWAYS), np.full((queries, keys), _ALWAYS)
    if get(node, "is_causal", 0):
        low = np.maximum(low, distance)
    if right >= 0:
        low = np.maximum(low, distance - right)
    if left >= 0:
        high = distance + left
    valid = c.legal.input(6)
    if valid is None:
        offset = keys - new
        return (low <= offset) & (offset <= high), []
    if c.legal.input(4) is not None or shape_of(valid) != (batch,):
        raise Unsupported(f"nonpad_kv_seqlen of shape {shape_of(valid)}, or together with past_key")
    require(valid, frozenset({"i64"}))
    low = np.maximum(low, np.arange(keys) + 1 - queries)
    counts = array_of(valid)
    if counts is not None:
        offsets = counts.reshape(batch, 1, 1, 1) - queries
        return (low <= offsets) & (offsets <= high), []
    offset_value = c.apply("sub", c.reshape(valid, (batch, 1, 1, 1)), float(queries))
    conditions = [c.apply("greater_or_equal", offset_value, constant(low))]
    if left >= 0:
        conditions.append(c.apply("less_or_equal", offset_value, constant(high)))
    return np.ones((1, 1), np.bool_), conditions


def _padded(c: Compose, mask: ir.Value, shape: tuple[int, int, int, int]) -> ir.Value:
    """A mask for fewer keys hides the others."""
    require(mask, frozenset({"b8", "f32"}))
    size = shape_of(mask)
    if not size or len(size) > 4 or size[-1] > shape[-1] or any(
        n not in (1, m) for n, m in zip(reversed(size[:-1]), reversed(shape[:-1]), strict=False)
    ):
        raise Unsupported(f"attn_mask of shape {size} for scores {shape}")
    missing = shape[-1] - size[-1]
    if not missing:
        return mask
    fill = np.asarray(False if mask.dtype == ir.DataType.BOOL else -math.inf, mask.dtype.numpy())  # type: ignore[union-attr]
    array = array_of(mask)
    if array is not None:
        return constant(np.pad(array, [(0, 0)] * (len(size) - 1) + [(0, missing)], constant_values=fill))
    pads = [0] * (2 * len(size) - 1) + [missing]
    return c.legal.emit("pad", [mask, constant(fill)], (*size[:-1], shape[-1]), mask.dtype, {"pads": pads, "mode": 0})
