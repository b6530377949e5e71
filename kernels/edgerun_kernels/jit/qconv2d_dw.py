"""qconv2d_dw: depthwise qconv2d; output channel c reads input channel c / m only.

x[N,H,W,C] w[KH,KW,C·m] bias[C·m]? factors[2,C·m or 1]? → y[N,OH,OW,C·m]; dtypes and meaning as in qconv2d.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_sums
from edgerun_kernels.jit.qconv2d import finish
from edgerun_kernels.jit.windows import padded, tap, window
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, optional


def qconv2d_dw(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w bias? factors? → y. abft: the sums are verified by their checksum."""
    x, w, y = operand(inputs, 0), operand(inputs, 1).astype(np.int32), outputs[0]
    win = window(attrs, w.shape[:2])
    out_hw = (y.shape[1], y.shape[2])
    real = padded(x.astype(np.int32) - integer(attrs, "x_zero"), win, out_hw, 0)
    if w.shape[2] != real.shape[3]:
        real = np.repeat(real, w.shape[2] // real.shape[3], axis=3)
    total, expected = np.zeros(y.shape, np.int32), np.zeros(y.shape[3:], np.int64)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            seen = tap(real, win, out_hw, i, j)
            total += seen * w[i, j]
            expected += seen.sum(axis=(0, 1, 2), dtype=np.int64) * w[i, j]
    sums = finish(total, inputs, attrs, y, sink)
    if sink is not None and integer(attrs, "abft"):
        check_sums(sink, sums, expected, optional(inputs, 2))


KERNELS: dict[str, Kernel] = {"qconv2d_dw_i8": qconv2d_dw, "qconv2d_dw_u8": qconv2d_dw}
