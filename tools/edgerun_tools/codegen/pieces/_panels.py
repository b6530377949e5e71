"""Float weights in panels of four outputs, as tile_f32.h reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def panels(w: Array, group: int = 1) -> Array:
    """w [outputs, inputs of an output] → [group, panels, inputs, 4] float32, filled up with zeros."""
    outputs, k = w.shape[0] // group, w.shape[1]
    filled = np.zeros((group, -(-outputs // 4) * 4, k), np.float32)
    filled[:, :outputs] = w.reshape(group, outputs, k)
    return filled.reshape(group, -1, 4, k).swapaxes(2, 3)
