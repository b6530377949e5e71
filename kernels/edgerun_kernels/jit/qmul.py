"""qmul_{i8,u8}: y = clamp(rescale((a - a_zero)(b - b_zero)) + y_zero, low, high), broadcast; rescale: fixed_point.py."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.fixed_point import rescale
from edgerun_kernels.jit.narrow import narrow
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, required


def qmul(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a, b → y; each of them i8 or u8. In place where the shapes are equal."""
    a = operand(inputs, 0).astype(np.int64) - integer(attrs, "a_zero")
    b = operand(inputs, 1).astype(np.int64) - integer(attrs, "b_zero")
    narrow(rescale(a * b, required(attrs, "m"), required(attrs, "left")), attrs, outputs[0])


KERNELS: dict[str, Kernel] = {"qmul_i8": qmul, "qmul_u8": qmul}
