"""NonMaxSuppression: of boxes that overlap, the one with the best score stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def corners(boxes: Array, by_centre: bool) -> Array:
    """[n, 4] boxes as (y1, x1, y2, x2) with y1 <= y2 and x1 <= x2; by_centre: they are (x, y, width, height)."""
    if by_centre:
        x, y, half_w, half_h = boxes[:, 0], boxes[:, 1], boxes[:, 2] / 2, boxes[:, 3] / 2
        return np.stack([y - half_h, x - half_w, y + half_h, x + half_w], axis=1)
    a, b = boxes[:, :2], boxes[:, 2:]
    swapped = a >= b  # as the reference sorts them, NaN included
    return np.concatenate([np.where(swapped, b, a), np.where(swapped, a, b)], axis=1)


def overlaps(box: Array, others: Array, threshold: float) -> Array:
    """Whether the intersection of `box` [4] with each of others [n, 4], divided by the union, is above the threshold."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides[:, 0] * sides[:, 1]
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = area + areas - common
    legal = (sides > 0).all(axis=1) & (common > 0) & (area > 0) & (areas > 0) & (union > 0)
    return legal & (np.where(legal, common, 0) / np.where(legal, union, 1) > threshold)


def non_max_suppression(boxes: Array, scores: Array, most: int, threshold: float, least: float | None, by_centre: bool,
                        in_time: Callable[[], None]) -> Array:
    """Rows (batch, class, box), best first within a class. boxes[batch, n, 4], scores[batch, classes, n].

    most: boxes of a class; least: scores must be above it. Of equal scores the lower index comes first. A box is compared with all
    that are left at once, so that the work is n for each box that stays. in_time raises when the time is over."""
    rows: list[Array] = []
    with np.errstate(all="ignore"):
        for batch in range(len(boxes) if most else 0):
            ends = corners(boxes[batch], by_centre)
            for label in range(scores.shape[1]):
                score = scores[batch, label]
                left = np.flatnonzero(score > least) if least is not None else np.arange(len(score))
                left = left[np.argsort(-score[left], kind="stable")]
                kept: list[int] = []
                while len(left) and len(kept) < most:
                    in_time()
                    best, left = left[0], left[1:]
                    kept.append(int(best))
                    left = left[~overlaps(ends[best], ends[left], threshold)]
                rows.append(np.array([(batch, label, k) for k in kept], np.int64).reshape(-1, 3))
    return np.concatenate(rows) if rows else np.zeros((0, 3), np.int64)
