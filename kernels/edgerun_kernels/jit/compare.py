"""Comparisons and logic with NumPy broadcasting → b8. Comparisons with NaN are false."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import ALL, NUMERIC, Attrs, Inputs, Kernel, Outputs, operand


def _compare(function: Callable[..., Any], inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    with np.errstate(all="ignore"):
        outputs[0][...] = function(operand(inputs, 0), operand(inputs, 1))


_ORDER: dict[str, Callable[..., Any]] = {
    "greater": np.greater, "less": np.less, "greater_or_equal": np.greater_equal, "less_or_equal": np.less_equal,
}

KERNELS: dict[str, Kernel] = {
    **{f"equal_{t}": partial(_compare, np.equal) for t in ALL},
    **{f"{name}_{t}": partial(_compare, f) for name, f in _ORDER.items() for t in NUMERIC},
    "and_b8": partial(_compare, np.logical_and),
    "or_b8": partial(_compare, np.logical_or),
    "xor_b8": partial(_compare, np.logical_xor),
}
