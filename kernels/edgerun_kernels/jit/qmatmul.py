"""qmatmul: y = clamp(rescale((a - a_zero) @ (b - b_zero) + bias) + y_zero, low, high), exact.

a[…,M,K] (i8, u8), b[K,N] constant (i8, i16: its zero point subtracted, b_zero 0) or b[…,K,N] computed (i8, u8), bias[N]? i32,
factors[2,N or 1]? i32 (m, left) → y[…,M,N] i8 or u8, or the sums (i32) where there are no factors. Leading dimensions broadcast.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_sums
from edgerun_kernels.jit.qconv2d import finish
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, optional


def qmatmul(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a b bias? factors? → y. abft: the sums are verified by their checksum where b is one matrix."""
    a = operand(inputs, 0).astype(np.float64) - integer(attrs, "a_zero")
    b = operand(inputs, 1).astype(np.float64) - integer(attrs, "b_zero")
    sums = finish(np.matmul(a, b), inputs, attrs, outputs[0], sink)  # float64 is exact: all sums are below 2^31
    if sink is not None and integer(attrs, "abft") and b.ndim == 2:
        total = a.reshape(-1, a.shape[-1]).sum(axis=0).astype(np.int64)
        check_sums(sink, sums, total @ b.astype(np.int64), optional(inputs, 2))


KERNELS: dict[str, Kernel] = {"qmatmul_i8": qmatmul, "qmatmul_u8": qmatmul}
