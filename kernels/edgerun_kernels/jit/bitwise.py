"""bitwise_and, bitwise_or, bitwise_xor, bitwise_not, shift_left, shift_right of integers; mod, fmod of all numbers.

A shift by a negative number, by the width or by more gives 0, and -1 for a negative number shifted right, which keeps its sign. An
integer divisor of 0 gives 0. mod has the sign of the divisor, fmod that of the dividend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import NUMERIC, Attrs, Inputs, Kernel, Outputs, operand

INTEGERS = tuple(t for t in NUMERIC if t[0] in "iu")


def _binary(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        outputs[0][...] = function(operand(inputs, 0), operand(inputs, 1))


def _shift(right: bool, inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    a, b = operand(inputs, 0), operand(inputs, 1)
    within = (b >= 0) & (b < 8 * b.itemsize)
    b = np.where(within, b, b.dtype.type(0))
    with np.errstate(all="ignore"):
        outputs[0][...] = np.where(within, a >> b if right else a << b, np.where((a < 0) & right, -1, 0).astype(a.dtype))


def _not(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    np.invert(operand(inputs, 0), out=outputs[0])


_BITS: dict[str, Callable[..., Any]] = {
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor, "mod": np.mod,
}

KERNELS: dict[str, Kernel] = {
    **{f"{name}_{t}": partial(_binary, f) for name, f in _BITS.items() for t in INTEGERS},
    **{f"bitwise_not_{t}": _not for t in INTEGERS},
    **{f"shift_{way}_{t}": partial(_shift, way == "right") for way in ("left", "right") for t in INTEGERS},
    **{f"mod_{t}": partial(_binary, np.mod) for t in ("f32", "f64")},
    **{f"fmod_{t}": partial(_binary, np.fmod) for t in (*INTEGERS, "f32", "f64")},
}
