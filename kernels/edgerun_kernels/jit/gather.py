"""gather: y = x taken at `indices` (i32 or i64) along `axis`; negative indices count from the end.

An index out of range raises BadIndex (in C++ it is reported, and gives zeros).
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, check_indices, integer, operand


def gather(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices → y[…before axis, indices…, …after axis]."""
    x, indices, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    axis = integer(attrs, "axis") % x.ndim
    check_indices(indices, x.shape[axis])
    np.take(x, indices, axis=axis, out=y, mode="wrap")


KERNELS: dict[str, Kernel] = {f"gather_{s}": gather for s in SIZES}
