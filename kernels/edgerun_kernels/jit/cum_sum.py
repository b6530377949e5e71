"""cum_sum: running sums along `axis`; exclusive: without the element itself; reverse: from the end.

Floats are summed in float64, integers wrap. NaN and what follows it are NaN.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand


def cum_sum(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, of the same shape."""
    x, y = operand(inputs, 0), outputs[0]
    axis = integer(attrs, "axis") % x.ndim
    if x.size == 0:
        return
    if integer(attrs, "reverse"):
        x, y = np.flip(x, axis), np.flip(y, axis)
    with np.errstate(all="ignore"):
        total = np.cumsum(x, axis=axis, dtype=np.float64 if x.dtype.kind == "f" else x.dtype)
    if integer(attrs, "exclusive"):
        total = np.roll(total, 1, axis)
        total[(slice(None),) * axis + (0,)] = 0
    y[...] = total


KERNELS: dict[str, Kernel] = {f"cum_sum_{t}": cum_sum for t in ("f32", "f64", "i32", "i64")}
