"""layer_norm_f32: y = (x - mean) / sqrt(variance + epsilon) · scale + bias, over the dimensions from `axis` on."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, number, operand, optional


def layer_norm(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x scale bias? → y, same shape. scale and bias have as many elements as the normalised dimensions."""
    x, scale, bias = operand(inputs, 0).astype(np.float64), operand(inputs, 1), optional(inputs, 2)
    axis = integer(attrs, "axis", -1) % x.ndim
    axes, row = tuple(range(axis, x.ndim)), x.shape[axis:]
    with np.errstate(all="ignore"):
        centred = x - x.mean(axis=axes, keepdims=True)
        variance = (centred * centred).mean(axis=axes, keepdims=True)
        y = centred / np.sqrt(variance + number(attrs, "epsilon", 1e-5)) * scale.reshape(row)
        outputs[0][...] = y if bias is None else y + bias.reshape(row)


KERNELS: dict[str, Kernel] = {"layer_norm_f32": layer_norm}
