"""Elementwise y = f(x): exp log sqrt neg abs reciprocal floor ceil, sin … atanh, and not_b8.

The output may be the input's buffer. NaN in → NaN out. Integers wrap (abs and neg of the smallest value are itself).
Check of exp: y = 1 / e^-x.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink, check_function
from edgerun_kernels.paper import check_published
from edgerun_kernels.types import NUMERIC, Array, Attrs, Inputs, Kernel, Outputs, integer, operand


def _unary(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        function(operand(inputs, 0), out=outputs[0])


def _double(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    # In float64, rounded once: closer to the truth than any float32 library.
    with np.errstate(all="ignore"):
        x: Array = operand(inputs, 0).astype(np.float64)
        outputs[0][...] = function(x)


def _exp(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        x = operand(inputs, 0).astype(np.float64)
        outputs[0][...] = np.exp(x)
    if sink is not None:
        sink.inject(outputs[0])
        check = check_published if integer(attrs, "paper") else check_function
        check(sink, "exp", x.reshape(-1), outputs[0].reshape(-1))


_TRIGONOMETRIC = (
    np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.arcsinh, np.arccosh, np.arctanh,
)

KERNELS: dict[str, Kernel] = {
    "exp_f32": _exp,
    "log_f32": partial(_double, np.log),
    "sqrt_f32": partial(_unary, np.sqrt),
    "reciprocal_f32": partial(_unary, np.reciprocal),
    "floor_f32": partial(_unary, np.floor),
    "ceil_f32": partial(_unary, np.ceil),
    **{f"{f.__name__.replace('arc', 'a')}_f32": partial(_double, f) for f in _TRIGONOMETRIC},
    "not_b8": partial(_unary, np.logical_not),
    **{f"neg_{t}": partial(_unary, np.negative) for t in NUMERIC},
    **{f"abs_{t}": partial(_unary, np.absolute) for t in NUMERIC},
}
