"""pad: elements added before and after every dimension.

Modes: 0 constant (`value`, or zero), 1 reflect, 2 edge, 3 wrap.

Negative pads remove elements and are applied first. Reflecting or wrapping further than the dimension is long repeats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, integer, ints, operand, optional

_MODES: tuple[Any, ...] = ("constant", "reflect", "edge", "wrap")


def pad(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x value? → y; attributes pads(2·rank: all befores, then all afters) and mode."""
    x, value, y = operand(inputs, 0), optional(inputs, 1), outputs[0]
    pads, mode = ints(attrs, "pads"), integer(attrs, "mode")
    before, after = pads[: x.ndim], pads[x.ndim :]
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(before, after, x.shape, strict=True))]
    width = [(max(a, 0), max(b, 0)) for a, b in zip(before, after, strict=True)]
    if y.size == 0:
        return
    if mode == 0:
        fill = x.dtype.type(0) if value is None else value.reshape(-1)[0]
        y[...] = np.pad(x, width, mode="constant", constant_values=fill) if x.ndim else x
    else:
        y[...] = np.pad(x, width, mode=_MODES[mode]) if x.ndim else x


KERNELS: dict[str, Kernel] = {f"pad_{s}": pad for s in SIZES}
