"""quantize_f32: y = saturate(round_half_even(x / scale) + zero), to the output's dtype (i8 u8 i16 u16); NaN → zero.

The quotient is that of float32, rounded once. The output's range is that of its dtype.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_finite
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, number, operand


def quantize(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, same shape. A sink counts and tests the values of x, and a fault to inject strikes them: y cannot show it."""
    x, y = operand(inputs, 0), outputs[0]
    zero, info = integer(attrs, "zero"), np.iinfo(y.dtype)
    if sink is not None:
        x = x.copy()
        sink.inject(x)
        check_finite(sink, x)
    with np.errstate(all="ignore"):
        steps = np.rint(x / number(attrs, "scale")).astype(np.float64)
    y[...] = np.clip(np.where(np.isnan(steps), 0.0, steps) + zero, info.min, info.max)


KERNELS: dict[str, Kernel] = {"quantize_f32": quantize}
