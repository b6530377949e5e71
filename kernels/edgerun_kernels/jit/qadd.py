"""qadd_{i8,u8}: the sum of two quantised tensors of different scales, broadcast.

    y = clamp(y_zero + (((a - a_zero) a_mult + (b - b_zero) b_mult + 2^(shift-1)) >> shift), low, high)

a_mult / 2^shift is a's scale over y's, and so for b; 1 <= shift <= 30 and the planner chooses them so that int32 suffices.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.narrow import narrow
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, required


def qadd(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a, b → y; each of them i8 or u8. In place where the shapes are equal."""
    a = (operand(inputs, 0).astype(np.int64) - integer(attrs, "a_zero")) * required(attrs, "a_mult")
    b = (operand(inputs, 1).astype(np.int64) - integer(attrs, "b_zero")) * required(attrs, "b_mult")
    shift = required(attrs, "shift")
    narrow((a + b + (1 << (shift - 1))) >> shift, attrs, outputs[0])


KERNELS: dict[str, Kernel] = {"qadd_i8": qadd, "qadd_u8": qadd}
