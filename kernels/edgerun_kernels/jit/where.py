"""where: y = cond ? a : b with NumPy broadcasting; moves bits, so any dtype of the element size."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, operand


def where(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """cond(b8) a b → y."""
    outputs[0][...] = np.where(operand(inputs, 0), operand(inputs, 1), operand(inputs, 2))


KERNELS: dict[str, Kernel] = {f"where_{s}": where for s in SIZES}
