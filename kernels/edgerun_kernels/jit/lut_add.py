"""lut_add_x8: the sum of functions of one byte each, given as tables of int32 steps of 2^-shift.

    y = clamp(((table[0][x_0] + … + table[n-1][x_n-1] + 2^(shift-1)) >> shift) + y_zero, low, high)

1 <= shift <= 30; the planner makes the tables so that no sum leaves int32 (it would wrap).
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.narrow import narrow
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand, required


def lut_add(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x_0 … x_n-1 of bytes, taken as unsigned, table[n,256] int32 → y, i8 or u8; n from 2 to 8, all of one shape."""
    terms, shift = len(inputs) - 1, required(attrs, "shift")
    table = operand(inputs, terms)
    sums = np.full(outputs[0].shape, 1 << (shift - 1), np.int32)
    for k in range(terms):
        sums += table[k][operand(inputs, k).view(np.uint8)]
    narrow((sums >> shift).astype(np.int64), attrs, outputs[0])


KERNELS: dict[str, Kernel] = {"lut_add_x8": lut_add}
