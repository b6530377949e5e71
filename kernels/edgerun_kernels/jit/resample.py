"""resample_f32: along one axis every element of y is a weighted sum of elements of x, y[o] = Σ_t weight[o, t] · x[index[o, t]]."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand


def resample(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x index[m, taps] weight[m, taps] → y; attribute axis. Terms of weight 0 are left out."""
    x, index, weight, y = operand(inputs, 0), operand(inputs, 1), operand(inputs, 2), outputs[0]
    axis = integer(attrs, "axis") % x.ndim
    shape = [1] * x.ndim
    shape[axis] = len(index)
    y[...] = 0
    with np.errstate(all="ignore"):
        for at, w in zip(index.T, weight.T, strict=True):
            w = w.reshape(shape)
            y += np.where(w == 0, np.float32(0), np.take(x, at, axis=axis) * w)


KERNELS: dict[str, Kernel] = {"resample_f32": resample}
