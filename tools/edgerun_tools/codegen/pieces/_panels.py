"""Weights in groups of four outputs, as tile_f32.h and the depthwise kernels read them."""

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


def channels(w: Array, by_four: bool, order: tuple[int, int, int, int] = (0, 1, 2, 3)) -> Array:
    """Depthwise w [kernel_h, kernel_w, outputs] → flat: [outputs / 4][taps][4, in this order], then the other outputs, [taps] each;
    by_four: whether there are any of the first."""
    flat = w.reshape(-1, w.shape[-1])
    fours = flat.shape[1] // 4 * 4 if by_four else 0
    tiles = flat[:, :fours].reshape(len(flat), -1, 4).transpose(1, 0, 2)[:, :, list(order)]
    return np.concatenate([tiles.reshape(-1), flat[:, fours:].T.reshape(-1)])
