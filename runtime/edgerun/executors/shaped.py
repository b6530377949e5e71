"""Operators whose results have a size that only their operands tell, in NumPy: dynamic.py runs them where a plan cannot.

A function gets a `Call` and the operands (None where one is absent) and returns the outputs. Before it makes anything of a size that
the operands' contents decide, it asks `Call.room`. ValueError and IndexError, for operands that do not fit, become ShapeError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgerun.executors.suppress import non_max_suppression
from edgerun.importer.sizing import check_room
from edgerun.limits import Clock
from edgerun.ops.graph import get

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Call:
    """One evaluation. left: bytes that are left of the budget; where: names the node in errors."""

    node: ir.Node
    where: str
    left: float
    budget: int
    clock: Clock

    def attribute(self, name: str, default: Any = None) -> Any:
        return get(self.node, name, default)

    def room(self, count: float, dtype: Any) -> None:
        """LimitError where so many elements do not fit."""
        check_room(count * np.dtype(dtype).itemsize, self.left, self.where, self.budget)

    def in_time(self) -> None:
        """DeadlineExceeded when the time is over."""
        if self.clock.over:
            raise self.clock.late(self.where, "within the operator")

    def dtype(self, default: int = onnx.TensorProto.FLOAT) -> Any:
        """NumPy's form of attribute output_datatype."""
        return onnx.helper.tensor_dtype_to_np_dtype(int(self.attribute("output_datatype", default)))


def _scalar(value: Array) -> Any:
    if value.size != 1:
        raise ValueError(f"expected one number, found shape {list(value.shape)}")
    return value.reshape(-1)[0].item()


def constant_of_shape(call: Call, shape: Array) -> list[Any]:
    value = call.attribute("value")
    fill = np.zeros(1, np.float32) if value is None else value.numpy().reshape(-1)
    dims = tuple(int(d) for d in shape.reshape(-1))
    if min(dims, default=0) < 0 or fill.size != 1:
        raise ValueError(f"expected a shape without negative sizes and one value, found {list(dims)} and {fill.size} values")
    call.room(math.prod(dims), fill.dtype)
    return [np.full(dims, fill[0], fill.dtype)]


def range_(call: Call, start: Array, limit: Array, delta: Array) -> list[Any]:
    first, last, step = (_scalar(v) for v in (start, limit, delta))
    if not step or any(v != v for v in (first, last, step)):
        raise ValueError(f"expected a step that is not 0 and numbers, found {first}, {last}, {step}")
    steps = (last - first) / step  # in Python: no overflow
    if steps > 0:
        call.room(3 * steps, np.float64)
    stash = call.attribute("stash_type")
    if stash is not None and start.dtype.itemsize == 2 and start.dtype.kind in "fV":
        made: Any = onnx.helper.tensor_dtype_to_np_dtype(int(stash))
        return [np.arange(first, last, step, dtype=made).astype(start.dtype)]
    return [np.arange(first, last, step).astype(start.dtype)]


def non_zero(call: Call, x: Array) -> list[Any]:
    if x.ndim == 0:
        return [np.zeros((0, int(bool(x))), np.int64)]
    call.room(np.count_nonzero(x) * x.ndim * 2, np.int64)
    return [np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)]


def compress(call: Call, x: Array, condition: Array) -> list[Any]:
    call.room(x.size, x.dtype)
    return [np.compress(condition.astype(bool), x, axis=call.attribute("axis"))]


def _window(call: Call, size: Array, shape: Callable[[Array], Array]) -> list[Any]:
    """shape: of the position in the window, in turns."""
    count, dtype = int(_scalar(size)), call.dtype()
    if count < 0:
        raise ValueError(f"expected a size of at least 0, found {count}")
    call.room(3 * count, np.float64)
    whole = count if call.attribute("periodic", 1) else count - 1
    with np.errstate(all="ignore"):
        return [shape(np.arange(count) / whole if whole else np.full(count, 0.5)).astype(dtype)]  # a window of one is its peak


def hann(call: Call, size: Array) -> list[Any]:
    return _window(call, size, lambda t: np.sin(np.pi * t) ** 2)


def hamming(call: Call, size: Array) -> list[Any]:
    alpha = 25 / 46
    return _window(call, size, lambda t: alpha - (1 - alpha) * np.cos(2 * np.pi * t))


def blackman(call: Call, size: Array) -> list[Any]:
    return _window(call, size, lambda t: 0.42 - 0.5 * np.cos(2 * np.pi * t) + 0.08 * np.cos(4 * np.pi * t))


def mel_weights(call: Call, bins: Array, length: Array, rate: Array, low: Array, high: Array) -> list[Any]:
    """[length / 2 + 1, bins]: triangles over the frequencies, evenly spaced in mel."""
    count, points, hertz = (int(_scalar(v)) for v in (bins, length, rate))
    first, last = (2595 * np.log1p(_scalar(v) / 700) / np.log(10) for v in (low, high))
    if count < 0 or points < 0 or hertz <= 0:
        raise ValueError(f"expected sizes of at least 0 and a positive rate, found {count}, {points}, {hertz}")
    rows = points // 2 + 1
    call.room(4 * float(rows) * count, np.float64)
    edges = 700 * np.expm1((np.arange(count + 2) * (last - first) / (count + 2) + first) / 2595 * np.log(10))
    edges = ((points + 1) * edges // hertz).astype(np.int64)
    if count and not (edges.min() >= 0 and edges.max() < rows):
        raise ValueError(f"expected edges below half of the rate, found bins {edges.min()} to {edges.max()} of {rows}")
    k, (left, middle, right) = np.arange(rows)[:, None], (edges[:-2], edges[1:-1], edges[2:])
    with np.errstate(all="ignore"):
        up = np.where((k >= left) & (k <= middle), np.where(middle == left, 1.0, (k - left) / (middle - left)), 0.0)
        down = (right - k) / (right - middle)
    weights = np.where((k >= middle) & (k < right) & (right > middle), down, up)
    return [weights.astype(call.dtype())]


def suppressed(call: Call, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
               least: Array | None = None) -> list[Any]:
    limit = 0 if most is None or not most.size else max(int(_scalar(most)), 0)
    threshold = float(_scalar(overlap)) if overlap is not None and overlap.size else 0.0
    score = float(_scalar(least)) if least is not None and least.size else None
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (scores.shape[0], scores.shape[2], 4):
        raise ValueError(f"expected boxes [batch, n, 4] and scores [batch, classes, n], found {list(boxes.shape)} and {list(scores.shape)}")
    call.room(3 * float(scores.shape[0]) * scores.shape[1] * min(limit, scores.shape[2]) + 16 * boxes.shape[1], np.int64)
    return [non_max_suppression(boxes, scores, limit, threshold, score, bool(call.attribute("center_point_box", 0)), call.in_time)]


SHAPED: Mapping[str, Callable[..., list[Any]]] = {
    "BlackmanWindow": blackman, "Compress": compress, "ConstantOfShape": constant_of_shape, "HammingWindow": hamming, "HannWindow": hann,
    "MelWeightMatrix": mel_weights, "NonMaxSuppression": suppressed, "NonZero": non_zero, "Range": range_,
}
