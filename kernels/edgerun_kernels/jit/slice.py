"""slice: y[i] = x[starts + i · steps] per dimension; starts are not negative, steps may be; sizes are the output's."""

from __future__ import annotations

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, ints, operand


def strided(start: int, step: int, count: int) -> slice:
    """The Python slice that takes `count` elements from `start` on."""
    if count == 0:
        return slice(0, 0)
    stop = start + (count - 1) * step + (1 if step > 0 else -1)
    return slice(start, stop if stop >= 0 else None, step)


def slice_(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y."""
    x, y = operand(inputs, 0), outputs[0]
    starts, steps = ints(attrs, "starts"), ints(attrs, "steps")
    y[...] = x[tuple(strided(a, s, n) for a, s, n in zip(starts, steps, y.shape, strict=True))]


KERNELS: dict[str, Kernel] = {f"slice_{s}": slice_ for s in SIZES}
