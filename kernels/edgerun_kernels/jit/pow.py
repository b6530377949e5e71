"""pow: y = a ** b with NumPy broadcasting.

Integers wrap; a negative integer exponent gives 1 / a^|b| truncated toward zero (so 0 except for a = 1 and -1), and 0
for a = 0.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def pow_float(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a b → y, float32, in float64 rounded once."""
    a, b = np.broadcast_arrays(operand(inputs, 0), operand(inputs, 1))
    # astype makes the broadcast exponent a real array: NumPy takes short cuts for a repeated one, as sqrt(-inf) = NaN.
    with np.errstate(all="ignore"):
        outputs[0][...] = np.power(a.astype(np.float64, order="C"), b.astype(np.float64, order="C"))


def pow_integer(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """a b → y, int32 or int64."""
    a, b = np.broadcast_arrays(operand(inputs, 0), operand(inputs, 1))
    with np.errstate(all="ignore"):
        positive = np.power(a, np.maximum(b, 0))
    odd = (b & 1).astype(bool)
    reciprocal = np.where(a == 1, 1, np.where(a == -1, np.where(odd, -1, 1), 0))
    outputs[0][...] = np.where(b < 0, reciprocal.astype(a.dtype), positive)


KERNELS: dict[str, Kernel] = {"pow_f32": pow_float, "pow_i32": pow_integer, "pow_i64": pow_integer}
