"""roi_align_f32: means or largest terms of samples over the bins of regions; see kernels/cpp/pool/roi_align_f32.cpp.

x[N,H,W,C], rois[R,4] = (x1, y1, x2, y2), batch_indices[R] → y[R,OH,OW,C]. In mode 1 a term is one of a sample's four weighted
neighbours, as in the ONNX reference.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, check_indices, integer, number, operand

_ONE = np.float32(1)
MOST_SAMPLES = 1024


def samples(start: np.float32, end: np.float32, bins: int, size: int, ratio: int, half: int) -> tuple[list[Array], float]:
    """Places of the samples in each bin of one axis that may lie on x, and how many there are in all."""
    extent = end - start if half else np.maximum(end - start, _ONE)
    width = np.float32(extent / np.float32(bins))
    count = max(float(ratio or np.ceil(width)), 0.0)
    found = []
    for k in range(bins):
        begin = start + np.float32(k) * width
        first, last = 0.0, count
        if count > MOST_SAMPLES:  # a region far larger than x: few of its samples lie on x
            step, most = float(width) / count, min(count, 9e15)
            ends = (-1.0 - float(begin)) / step - 2, (size - float(begin)) / step + 2
            first, last = (float(np.clip(end, 0.0, most)) for end in ends)
        at = np.arange(int(first), int(last)).astype(np.float32)
        found.append(begin + (at + np.float32(0.5)) * width / np.float32(count))
    return found, count


def neighbours(at: Array, size: int) -> tuple[Array, Array, Array]:
    """(the two elements, their weights, whether it lies on x) of places along an axis of `size` elements."""
    inside = (at >= -1) & (at <= size) & (size > 0)
    v = np.where(inside, np.maximum(at, np.float32(0)), np.float32(0))
    low = np.minimum(v.astype(np.int64), max(size - 1, 0))
    high = np.minimum(low + 1, max(size - 1, 0))
    far = np.where(low >= size - 1, np.float32(0), v - low.astype(np.float32))
    return np.stack([low, high], -1), np.stack([_ONE - far, far], -1), inside


def roi_align(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x rois batch_indices → y; attributes mode (0 mean, 1 largest), half_pixel, sampling_ratio, spatial_scale (float)."""
    x, rois, batch, y = operand(inputs, 0), operand(inputs, 1), operand(inputs, 2), outputs[0]
    check_indices(batch, len(x))
    largest, half, ratio = integer(attrs, "mode"), integer(attrs, "half_pixel"), integer(attrs, "sampling_ratio")
    with np.errstate(all="ignore"):
        boxes = rois * number(attrs, "spatial_scale") - np.float32(0.5 if half else 0)
        sides = boxes[:, 2:] - boxes[:, :2]
        for r, box in enumerate(boxes):
            if not (np.isfinite(box).all() and np.isfinite(sides[r]).all()):
                y[r] = np.nan
                continue
            rows, tall = samples(box[1], box[3], y.shape[1], x.shape[1], ratio, half)
            columns, wide = samples(box[0], box[2], y.shape[2], x.shape[2], ratio, half)
            for i, row in enumerate(rows):
                for j, column in enumerate(columns):
                    y[r, i, j] = _bin(x[batch[r]], row, column, tall * wide, bool(largest))


def _bin(x: Array, row: Array, column: Array, count: float, largest: bool) -> Array:
    (at, wy, in_y), (to, wx, in_x) = neighbours(row, x.shape[0]), neighbours(column, x.shape[1])
    at, wy, to, wx = at[in_y], wy[in_y], to[in_x], wx[in_x]
    # [rows, columns, 2, 2, C]: the weighted neighbours of every sample that lies on x
    terms = x[at[:, None, :, None], to[None, :, None, :]] * (wy[:, None, :, None] * wx[None, :, None, :])[..., None]
    if not largest:
        return terms.sum(axis=(0, 1, 2, 3), dtype=np.float64) / max(count, 1.0)
    found = terms.reshape(-1, x.shape[-1])
    if count > len(at) * len(to) or not len(found):
        found = np.concatenate([found, np.zeros((1, x.shape[-1]), np.float32)])
    return found.max(axis=0)


KERNELS: dict[str, Kernel] = {"roi_align_f32": roi_align}
