"""lut_x8: y = table[x], the table having 256 entries that the bytes of x, as unsigned, select from."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def lut(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x, table[256] → y of x's shape; all of one byte, bits are moved."""
    x, table, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    y.view(np.uint8)[...] = table.view(np.uint8)[x.view(np.uint8)]


KERNELS: dict[str, Kernel] = {"lut_x8": lut}
