"""Small files that ask for endless memory or time. None can run to its end within the limits, so all must be refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import onnx

from .case import Case, Family
from .models import BOOL, I64, F, free, graph, model, node, normal, one

_of = Family("bombs")
TERA = 1 << 40
Content = Callable[[], onnx.ModelProto]


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _filled(*shape: int) -> Content:
    return lambda: one("ConstantOfShape", None, _ints(*shape), rank=len(shape))


def _rows(op: str, *constants: Any, **attributes: Any) -> Content:
    """An operator on x [1, 3] and constants."""
    return lambda: one(op, (1, 3), *constants, rank=2, **attributes)


def loop(trips: int | None, step: onnx.NodeProto, shape: tuple[int | str, ...] = (4,)) -> onnx.ModelProto:
    """w = step(v), `trips` times from v = x on; None: for ever. `step` may use "one" = 1."""
    body = graph([step, node("Identity", ["c"], ["d"])], [("i", I64, ()), ("c", BOOL, ()), ("v", F, shape)],
                 [("d", BOOL, ()), ("w", F, shape)])
    constants = {"true": np.array(True), "one": np.float32(1)} | ({} if trips is None else {"n": np.array(trips)})
    return model([node("Loop", ["" if trips is None else "n", "true", "x"], ["y"], body=body)], [("x", F, (4,))],
                 [("y", F, shape)], constants)


def _nested_loops() -> onnx.ModelProto:
    """Five Loops of a million trips inside each other."""
    inner = node("Add", ["v5", "one"], ["w5"])
    for level in reversed(range(5)):
        k = level + 1
        body = graph([inner, node("Identity", [f"c{k}"], [f"d{k}"])],
                     [(f"i{k}", I64, ()), (f"c{k}", BOOL, ()), (f"v{k}", F, (4,))], [(f"d{k}", BOOL, ()), (f"w{k}", F, (4,))])
        inner = node("Loop", ["n", "true", f"v{level}" if level else "x"], [f"w{level}" if level else "y"], body=body)
    return model([inner], [("x", F, (4,))], [("y", F, (4,))],
                 {"true": np.array(True), "one": np.float32(1), "n": np.array(1_000_000)})


def _doubled_by_nodes() -> onnx.ModelProto:
    names = ["x", *(f"v{k}" for k in range(39)), "y"]
    return model([node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)], [("x", F, (4,))],
                 [("y", F, free(1))])


def _outer_sum() -> onnx.ModelProto:
    return model([node("Transpose", ["x"], ["t"]), node("Add", ["x", "t"], ["y"])], [("x", F, (1 << 20, 1))],
                 [("y", F, free(2))])


def _resized() -> onnx.ModelProto:
    return one("Resize", (1, 1, 4, 4), None, np.array([1, 1, 1e9, 1e9], np.float32), rank=4, mode="nearest")


def _then_summed() -> onnx.ModelProto:
    """The large tensor is in the middle: inputs and outputs are small."""
    return model([node("ConstantOfShape", ["s"], ["f"]), node("ReduceSum", ["f"], ["r"], keepdims=0),
                  node("Add", ["x", "r"], ["y"])], [("x", F, (4,))], [("y", F, (4,))], {"s": _ints(1 << 20, 1 << 11)})


def _sequence() -> onnx.ModelProto:
    """A Loop whose scan output collects 64 KiB in each of 10^8 trips."""
    body = graph([node("Identity", ["v"], ["w"]), node("Identity", ["v"], ["s"]), node("Identity", ["c"], ["d"])],
                 [("i", I64, ()), ("c", BOOL, ()), ("v", F, (1 << 14,))],
                 [("d", BOOL, ()), ("w", F, (1 << 14,)), ("s", F, (1 << 14,))])
    return model([node("Loop", ["n", "true", "x"], ["w", "y"], body=body)], [("x", F, (1 << 14,))], [("y", F, free(2))],
                 {"n": np.array(100_000_000), "true": np.array(True)})


def _all_pairs() -> onnx.ModelProto:
    pairs = ["".join(p) for p in combinations("abcdef", 2)]
    return one("Einsum", (64, 64), rank=0, first=["x"] * len(pairs), equation=",".join(pairs) + "->")


def _cases() -> tuple[Case, ...]:
    e = _of.error
    return (
        e("fill-2-42", "ConstantOfShape of 2^42 elements.", _filled(1 << 21, 1 << 21)),
        e("fill-2-gib", "ConstantOfShape of 2 GiB, from some hundred bytes.", _filled(1 << 29)),
        e("fill-wrapping", "ConstantOfShape of 2^33 x 2^33 elements.", _filled(1 << 33, 1 << 33)),
        e("fill-negative", "ConstantOfShape of -1 elements.", _filled(-1)),
        e("fill-then-sum", "8 GiB between a small input and a small output.", _then_summed),
        e("expand-2-40", "Expand to 2^40 rows.", _rows("Expand", _ints(TERA, 3))),
        e("expand-wrapping", "Expand to 2^33 x 2^33 x 3, whose product wraps around.",
          lambda: one("Expand", (1, 3), _ints(1 << 33, 1 << 33, 3), rank=3)),
        e("tile-2-40", "Tile 2^40 times.", _rows("Tile", _ints(TERA, 1))),
        e("range-1e15", "Range up to 10^15.",
          lambda: one("Range", None, np.array(0), np.array(10**15), np.array(1), rank=1, dtypes=(F, I64))),
        e("pad-2-40", "Pad with 2^40 rows.", _rows("Pad", _ints(TERA, 0, 0, 0))),
        e("one-hot-2-40", "OneHot with a depth of 2^40.",
          lambda: one("OneHot", (4,), np.array(TERA), np.array([0, 1], np.float32), rank=2, dtypes=(I64, F))),
        e("resize-1e9", "Resize by 10^9 in both directions.", _resized),
        e("random-2-40", "RandomNormal of 2^40 elements.", lambda: one("RandomNormal", None, rank=2, shape=[1 << 20, 1 << 20])),
        e("conv-transpose-stride-2-20", "ConvTranspose with strides of 2^20.",
          lambda: one("ConvTranspose", (1, 1, 64, 64), normal(1, 1, 1, 1), rank=4, strides=[1 << 20, 1 << 20])),
        e("outer-sum", "[2^20, 1] + [1, 2^20].", _outer_sum),
        e("concat-doubling", "40 nodes, each of which doubles its input.", _doubled_by_nodes),
        e("loop-2-63", "A Loop of 2^63 - 1 trips.", lambda: loop((1 << 63) - 1, node("Add", ["v", "one"], ["w"]))),
        e("loop-for-ever", "A Loop without a trip count whose condition stays true.",
          lambda: loop(None, node("Add", ["v", "one"], ["w"]))),
        e("loop-doubling", "A Loop of 40 trips, each of which doubles a tensor.",
          lambda: loop(40, node("Concat", ["v", "v"], ["w"], axis=0), ("n",))),
        e("loop-collecting", "A Loop that collects 64 KiB in each of 10^8 trips.", _sequence),
        e("loops-in-loops", "Five Loops of a million trips inside each other.", _nested_loops),
        e("einsum-64-6", "Einsum in which every two of six indices of 64 meet: 2^36 products for one number.", _all_pairs),
    )


CASES = _cases()
