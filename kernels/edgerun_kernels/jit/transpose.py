"""transpose: y[i0, i1, …] = x with its dimensions in the order `perm`; moves bits."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, ints, operand


def transpose(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y."""
    outputs[0][...] = np.transpose(operand(inputs, 0), ints(attrs, "perm"))


KERNELS: dict[str, Kernel] = {f"transpose_{s}": transpose for s in SIZES}
