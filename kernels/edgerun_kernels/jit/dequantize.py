"""dequantize_{i8,u8,i16,u16,i32}: y = (float)(x - zero) * scale in float32; the difference is exact before it is rounded."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, number, operand


def dequantize(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y float32, same shape."""
    difference = operand(inputs, 0).astype(np.int64) - integer(attrs, "zero")
    with np.errstate(all="ignore"):
        outputs[0][...] = difference.astype(np.float32) * number(attrs, "scale")


KERNELS: dict[str, Kernel] = {f"dequantize_{t}": dequantize for t in ("i8", "u8", "i16", "u16", "i32")}
