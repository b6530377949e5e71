"""arg_max_f32, arg_min_f32 → i64: position of the extreme value along `axis`.

Of equals the first one (the last with select_last = 1). A NaN counts as extreme, and the first one wins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand


def _arg(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    x, y = operand(inputs, 0), outputs[0]
    axis = integer(attrs, "axis") % x.ndim
    at = function(x, axis=axis)
    if integer(attrs, "select_last"):
        last = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis)
        at = np.where(np.isnan(x).any(axis=axis), at, last)
    y[...] = np.reshape(at, y.shape)


KERNELS: dict[str, Kernel] = {"arg_max_f32": partial(_arg, np.argmax), "arg_min_f32": partial(_arg, np.argmin)}
