"""top_k: the K greatest (largest = 1) or least elements along `axis`, best first, and their positions (i64).

Of equals the lower position comes first. A NaN counts as greater than every number. K is the outputs'.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand


def top_k(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → values, positions."""
    x = operand(inputs, 0)
    axis = integer(attrs, "axis") % x.ndim
    k, n = outputs[0].shape[axis], x.shape[axis]
    if integer(attrs, "largest", 1):  # a stable sort of the reversed line puts higher positions last when it is read backwards
        order = n - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.take(order, np.arange(k), axis=axis)
    outputs[0][...] = np.take_along_axis(x, order, axis)
    outputs[1][...] = order


KERNELS: dict[str, Kernel] = {f"top_k_{t}": top_k for t in ("f32", "f64", "i32", "i64")}
