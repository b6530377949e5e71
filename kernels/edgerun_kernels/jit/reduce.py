"""reduce_mean/sum/max/min/prod over `axes` (all of them when empty). The output has the kept or squeezed shape.

f32 sums, means and products are taken in float64; integers wrap. max and min propagate NaN; of nothing they give the
identity (-inf, +inf or the integer's limits), sum 0, prod 1, mean NaN.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, ints, operand


def _limit(dtype: np.dtype, sign: int) -> float | int:
    if dtype.kind == "f":
        return sign * np.inf
    info = np.iinfo(dtype)
    return int(info.max if sign > 0 else info.min)


def _reduced(operation: str, x: Array, axes: tuple[int, ...]) -> Array:
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    if operation == "mean":
        return np.asarray(x.mean(axis=axes, dtype=wide))
    if operation == "sum":
        return np.asarray(x.sum(axis=axes, dtype=wide))
    if operation == "prod":
        return np.asarray(x.prod(axis=axes, dtype=wide))
    if operation == "max":
        return np.asarray(x.max(axis=axes, initial=_limit(x.dtype, -1)))
    return np.asarray(x.min(axis=axes, initial=_limit(x.dtype, 1)))


def _reduce(operation: str, inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    x, y = operand(inputs, 0), outputs[0]
    axes = tuple(a % x.ndim for a in ints(attrs, "axes")) or tuple(range(x.ndim))
    with np.errstate(all="ignore"):
        y[...] = _reduced(operation, x, axes).reshape(y.shape)


KERNELS: dict[str, Kernel] = {
    "reduce_mean_f32": partial(_reduce, "mean"),
    "reduce_prod_f32": partial(_reduce, "prod"),
    **{f"reduce_{op}_{t}": partial(_reduce, op) for op in ("sum", "max", "min") for t in ("f32", "i32", "i64")},
}
