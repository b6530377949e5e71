"""prelu_f32: y = x < 0 ? slope * x : x, slope broadcast to x. NaN in → NaN out."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def prelu(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x slope → y."""
    x, slope = operand(inputs, 0), operand(inputs, 1)
    with np.errstate(all="ignore"):
        outputs[0][...] = np.where(x < 0, slope * x, x)


KERNELS: dict[str, Kernel] = {"prelu_f32": prelu}
