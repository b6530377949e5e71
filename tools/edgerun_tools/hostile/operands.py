"""Operands that do not fit their operator: shapes, indices, axes and counts given as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .case import Case, Family
from .models import I64, F, model, node, normal, one

_of = Family("operands")
FAR = 1_000_000_007
"""An index far behind the end of every tensor here, and no more than 32 bits."""
Content = Callable[[], onnx.ModelProto]


def _rows(op: str, *constants: Any, rank: int = 2, **attributes: Any) -> Content:
    """An operator on x [2, 3] and constants."""
    return lambda: one(op, (2, 3), *constants, rank=rank, **attributes)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _topk(count: int) -> Content:
    return lambda: one("TopK", (2, 3), _ints(count), rank=2, outputs=2)


def _split() -> onnx.ModelProto:
    return model([node("Split", ["x", "s"], ["y", "z"], axis=1)], [("x", F, (2, 3))],
                 [("y", F, ("a", "b")), ("z", F, ("a", "c"))], {"s": _ints(5, -2)})


def _roi_align() -> onnx.ModelProto:
    rois = np.array([[0, 0, 3, 3]], np.float32)
    return one("RoiAlign", (1, 1, 4, 4), rois, _ints(FAR), rank=4, output_height=2, output_width=2)


def _resize(*scales: float) -> Content:
    return lambda: one("Resize", (1, 1, 4, 4), None, np.array(scales, np.float32), rank=4, mode="nearest")


def _sizes(*sizes: int) -> Content:
    return lambda: one("Resize", (1, 1, 4, 4), None, None, _ints(*sizes), rank=4, mode="nearest")


def _range(delta: int) -> onnx.ModelProto:
    return one("Range", None, np.array(0), np.array(9), np.array(delta), rank=1, dtypes=(F, I64))


def _cases() -> tuple[Case, ...]:
    e = _of.error
    return (
        e("gemm-shapes", "Gemm of [2, 3] with [4, 5].", _rows("Gemm", normal(4, 5))),
        e("matmul-shapes", "MatMul of [2, 3] with [4, 5].", _rows("MatMul", normal(4, 5))),
        e("add-shapes", "Add of [2, 3] and [7].", _rows("Add", normal(7))),
        e("where-shapes", "Where with a condition [5] for values [2, 3].",
          lambda: one("Where", (2, 3), np.ones(5, bool), normal(2, 3), rank=2, first=["c0", "x", "c1"])),
        e("add-types", "Add of floats and integers.", _rows("Add", _ints(1, 2, 3))),
        e("top-k-negative", "The -1 largest elements.", _topk(-1)),
        e("top-k-too-many", "The 2^40 largest of three elements.", _topk(1 << 40)),
        e("split-sizes", "Split of 3 into 5 and -2.", _split),
        e("slice-step-0", "Slice with a step of 0.", _rows("Slice", _ints(0), _ints(3), _ints(1), _ints(0))),
        e("slice-axis", "Slice along axis 2^40.", _rows("Slice", _ints(0), _ints(3), _ints(1 << 40))),
        e("slice-axis-twice", "Slice along the same axis twice.", _rows("Slice", _ints(0, 1), _ints(2, 3), _ints(1, 1))),
        e("reshape-two-minus-1", "Reshape to two unknown sizes.", _rows("Reshape", _ints(-1, -1))),
        e("reshape-minus-2", "Reshape to a size of -2.", _rows("Reshape", _ints(-2, -3))),
        e("reshape-other-count", "Reshape of 6 elements to 7.", _rows("Reshape", _ints(7), rank=1)),
        e("reshape-wrapping", "Reshape to 2^62+1 x 4 x 6, whose product wraps around.",
          _rows("Reshape", _ints((1 << 62) + 1, 4, 6), rank=3)),
        e("squeeze-size-3", "Squeeze of an axis of size 3.", _rows("Squeeze", _ints(1), rank=1)),
        e("unsqueeze-twice", "Unsqueeze at the same axis twice.", _rows("Unsqueeze", _ints(0, 0), rank=4)),
        e("expand-shapes", "Expand of [2, 3] to [2, 7].", _rows("Expand", _ints(2, 7))),
        e("tile-negative", "Tile -1 times.", _rows("Tile", _ints(-1, 1))),
        e("tile-counts", "Tile of two axes with three counts.", _rows("Tile", _ints(1, 1, 1))),
        e("pad-crops-all", "Pad with -50 columns of three.", _rows("Pad", _ints(0, -50, 0, 0))),
        e("pad-counts", "Pad of two axes with three counts.", _rows("Pad", _ints(1, 1, 1))),
        e("reduce-axis", "ReduceSum along axis 2^40.", _rows("ReduceSum", _ints(1 << 40), keepdims=1)),
        e("cumsum-axis", "CumSum along axis -9.", _rows("CumSum", np.array(-9))),
        e("gather-index", "Gather with an index beyond 10^9.", _rows("Gather", _ints(0, FAR))),
        e("gather-index-negative", "Gather with an index below -10^9.", _rows("Gather", _ints(0, -FAR))),
        e("gather-elements-index", "GatherElements with an index beyond 10^9.",
          _rows("GatherElements", np.array([[0], [FAR]], np.int64), axis=1)),
        e("gather-nd-index", "GatherND with an index beyond 10^9.", _rows("GatherND", np.array([[0, FAR]], np.int64), rank=1)),
        e("scatter-elements-index", "ScatterElements with an index beyond 10^9.",
          _rows("ScatterElements", np.array([[FAR]], np.int64), np.ones((1, 1), np.float32), axis=1)),
        e("scatter-nd-index", "ScatterND with an index beyond 10^9.",
          _rows("ScatterND", np.array([[0, FAR]], np.int64), np.ones(1, np.float32))),
        e("roi-align-index", "RoiAlign for an image beyond number 10^9.", _roi_align),
        e("resize-scale-0", "Resize by 0.", _resize(1, 1, 0, 1)),
        e("resize-scale-negative", "Resize by -2.", _resize(1, 1, -2, 1)),
        e("resize-scale-nan", "Resize by a scale that is no number.", _resize(1, 1, float("nan"), 1)),
        e("resize-size-negative", "Resize to a size of -8.", _sizes(1, 1, -8, 4)),
        e("range-delta-0", "A Range that never arrives: steps of 0.", lambda: _range(0)),
        e("one-hot-depth-negative", "OneHot with a depth of -4.",
          lambda: one("OneHot", (4,), np.array(-4), np.array([0, 1], np.float32), rank=2, dtypes=(I64, F))),
    )


CASES = _cases()
