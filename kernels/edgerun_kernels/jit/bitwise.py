"""bitwise_and, bitwise_or, bitwise_xor, bitwise_not of integers; shift_left, shift_right of unsigned ones; mod, fmod.

A shift by the width or more gives 0, as does an integer divisor of 0. mod has the sign of the divisor (integers), fmod that of
the dividend (all numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import NUMERIC, Attrs, Inputs, Kernel, Outputs, operand

INTEGERS = tuple(t for t in NUMERIC if t[0] in "iu")
UNSIGNED = tuple(t for t in NUMERIC if t[0] == "u")


def _binary(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        outputs[0][...] = function(operand(inputs, 0), operand(inputs, 1))


def _not(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    np.invert(operand(inputs, 0), out=outputs[0])


_BITS: dict[str, Callable[..., Any]] = {
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor, "mod": np.mod,
}

KERNELS: dict[str, Kernel] = {
    **{f"{name}_{t}": partial(_binary, f) for name, f in _BITS.items() for t in INTEGERS},
    **{f"bitwise_not_{t}": _not for t in INTEGERS},
    **{f"shift_left_{t}": partial(_binary, np.left_shift) for t in UNSIGNED},
    **{f"shift_right_{t}": partial(_binary, np.right_shift) for t in UNSIGNED},
    **{f"fmod_{t}": partial(_binary, np.fmod) for t in (*INTEGERS, "f32", "f64")},
}
