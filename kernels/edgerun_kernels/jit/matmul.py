"""matmul_f32: y = act(alpha · op(a) @ op(b) + bias + r), op = transpose where trans_a / trans_b.

a[…,M,K] b[…,K,N] (or [N,K] with trans_b) bias? r? → y[…,M,N]. Leading dimensions broadcast, bias and r to y.
Error at most c·K·eps·Σ|a||b|.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_products
from edgerun_kernels.jit.activation import finish
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, number, operand, optional


def matmul(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a b bias? r? → y. abft: the sums are verified by their checksum where b is one matrix."""
    a, b = operand(inputs, 0), operand(inputs, 1)
    bias, residual = optional(inputs, 2), optional(inputs, 3)
    a = np.swapaxes(a, -1, -2) if integer(attrs, "trans_a") else a
    b = np.swapaxes(b, -1, -2) if integer(attrs, "trans_b") else b
    with np.errstate(all="ignore"):
        y = np.matmul(a, b)
        if sink is not None and integer(attrs, "abft") and b.ndim == 2 and y.ndim > 1:
            sink.strike("accumulator", y)
            rows = a.reshape(-1, a.shape[-1])
            each, all_of = rows.sum(axis=0, dtype=np.float64), np.abs(rows).sum(axis=0, dtype=np.float64)
            check_products(sink, 0, y.reshape(-1, y.shape[-1]), each @ b, all_of @ np.abs(b), b.shape[0])
        alpha = number(attrs, "alpha", 1.0)
        if alpha != 1:
            y = alpha * y
        if bias is not None:
            y = y + bias
        if residual is not None:
            y = y + residual
    finish(y, attrs, outputs[0], sink)


KERNELS: dict[str, Kernel] = {"matmul_f32": matmul}
