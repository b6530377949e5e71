"""softmax_f32: y = e^(x - max) / Σ e^(x - max) along `axis`; log_softmax_f32: its logarithm; float64 inside."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_log_softmax, check_softmax
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, operand


def _shifted(x: Array, axis: int) -> Array:
    return np.asarray(x.astype(np.float64) - x.max(axis=axis, keepdims=True, initial=-np.inf))


def softmax(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, same shape; every row sums to 1."""
    x, y = operand(inputs, 0), outputs[0]
    axis = integer(attrs, "axis", -1) % max(x.ndim, 1)
    with np.errstate(all="ignore"):
        e = np.exp(_shifted(x, axis))
        y[...] = e / e.sum(axis=axis, keepdims=True)
    if sink is not None:
        sink.inject(y)
        check_softmax(sink, y, axis)


def log_softmax(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, same shape; e^y of every row sums to 1."""
    x, y = operand(inputs, 0), outputs[0]
    axis = integer(attrs, "axis", -1) % max(x.ndim, 1)
    with np.errstate(all="ignore"):
        shifted = _shifted(x, axis)
        y[...] = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    if sink is not None:
        sink.inject(y)
        check_log_softmax(sink, y, axis)


KERNELS: dict[str, Kernel] = {"softmax_f32": softmax, "log_softmax_f32": log_softmax}
