"""split: x cut along `axis` into the outputs, whose sizes say where; moves bits."""

from __future__ import annotations

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, integer, operand


def split(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → n outputs."""
    x = operand(inputs, 0)
    axis = integer(attrs, "axis") % x.ndim
    begin = 0
    for y in outputs:
        end = begin + y.shape[axis]
        y[...] = x[(slice(None),) * axis + (slice(begin, end),)]
        begin = end


KERNELS: dict[str, Kernel] = {f"split_{s}": split for s in SIZES}
