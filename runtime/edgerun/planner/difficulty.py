"""Attributes of difficulty_f32: the model's preprocessing recipe undone, so that the estimate sees pixels in [0, 1]."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np

from edgerun.errors import ModelFormatError, PolicyError
from edgerun.importer.load import Graph

PREPROCESS_KEY = "edgerun.preprocess"
_GRAY = (0.299, 0.587, 0.114)


class DifficultySource(Protocol):
    """Frozen constants of the difficulty estimate (exits.DifficultyConfig, or a plan's Difficulty)."""

    @property
    def tau_edge(self) -> float: ...
    @property
    def low(self) -> tuple[float, float, float]: ...
    @property
    def high(self) -> tuple[float, float, float]: ...
    @property
    def weights(self) -> tuple[float, float, float]: ...


def difficulty_attrs(graph: Graph, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    """layout, scale, offset and gray of difficulty_f32: pixel = x·scale + offset in [0, 1], from metadata
    `edgerun.preprocess`."""
    if len(shape) != 4 or shape[0] != 1 or dtype != "f32":
        raise PolicyError(
            f"{graph.name}: difficulty needs one float32 image [1,C,H,W] or [1,H,W,C] as first input, found {dtype} {shape}"
        )
    text = graph.metadata.get(PREPROCESS_KEY)
    if text is None:
        raise PolicyError(
            f"{graph.name}: difficulty needs metadata {PREPROCESS_KEY} (layout, color, scale, mean, std), found none"
        )
    try:
        recipe = json.loads(text)
        nhwc = recipe.get("layout", "NCHW") == "NHWC"
        channels = shape[3] if nhwc else shape[1]
        mean = np.broadcast_to(np.asarray(recipe.get("mean", 0.0), np.float64).reshape(-1), channels)
        std = np.broadcast_to(np.asarray(recipe.get("std", 1.0), np.float64).reshape(-1), channels)
        full = 255.0 * float(recipe.get("scale", 1 / 255))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelFormatError(f"{graph.name}: metadata {PREPROCESS_KEY}: {error}") from error
    gray = _GRAY if channels == 3 else (1.0 / channels,) * channels
    if recipe.get("color", "RGB") == "BGR":
        gray = gray[::-1]
    return {
        "layout": (int(nhwc),),
        "scale": tuple((std / full).tolist()),
        "offset": tuple((mean / full).tolist()),
        "gray": gray,
    }
