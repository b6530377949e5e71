"""Graph passes: each a function that rewrites an onnx-ir model in place and returns how much it changed.

`PASSES` is the one list; `run` applies it, without those switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx_ir as ir

from .activation import fuse_activations
from .affine import fold_affine
from .focus import merge_slices
from .halves import keep_wide
from .hoist import hoist_activations
from .layout import layout
from .legalize import legalize
from .padding import fold_padding
from .patterns import spell_activations
from .pools import chain_pools
from .quantise import move_pairs, quantise
from .residual import fuse_residuals

Pass = Callable[[ir.Model], int]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("halves", keep_wide),
    ("pairs", move_pairs),
    ("slices", merge_slices),
    ("layout", layout),
    ("patterns", spell_activations),
    ("pools", chain_pools),
    ("affine", fold_affine),
    ("padding", fold_padding),
    ("quantise", quantise),
    ("quantised_padding", fold_padding),
    ("residual", fuse_residuals),
    ("residual_bias", fold_affine),
    ("hoist", hoist_activations),
    ("activation", fuse_activations),
)
"""Optimising passes in order. `legalize` always comes first and is not optional."""

__all__ = ["PASSES", "legalize", "run"]


def run(model: ir.Model, *, optimize: bool = True, without: Collection[str] = ()) -> dict[str, int]:
    """Legalise, then apply the passes. Returns pass name → number of changes."""
    changes = {"legalize": legalize(model)}
    if optimize:
        for name, function in PASSES:
            if name not in without:
                changes[name] = function(model)
    return changes
