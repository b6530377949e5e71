"""gather: y = x taken at `indices` (i32 or i64) along `axis`; negative indices count from the end.

What an index out of range would have taken is zero (executors refuse such indices before they call the kernel).
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, integer, operand


def gather(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices → y[…before axis, indices…, …after axis]."""
    x, indices, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    axis = integer(attrs, "axis") % x.ndim
    size = x.shape[axis]
    legal = (indices >= -size) & (indices < size)
    if size == 0:
        y[...] = 0
        return
    y[...] = np.take(x, np.where(legal, indices, 0), axis=axis)
    if not legal.all():
        y[(slice(None),) * axis + (~legal,)] = 0


KERNELS: dict[str, Kernel] = {f"gather_{s}": gather for s in SIZES}
