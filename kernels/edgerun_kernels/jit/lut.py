"""lut_{x8,x32}: y = table[x], the table having 256 entries that the bytes of x, as unsigned, select from."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def lut(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x of bytes, table[256] → y of x's shape; table and y have elements of one size, bits are moved."""
    x, table, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    bits = np.dtype(f"u{y.dtype.itemsize}")
    y.view(bits)[...] = table.view(bits)[x.view(np.uint8)]


KERNELS: dict[str, Kernel] = {"lut_x8": lut, "lut_x32": lut}
