"""concat: the inputs one after the other along `axis`; moves bits."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Attrs, Inputs, Kernel, Outputs, integer, operand


def concat(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """1..n tensors → y."""
    np.concatenate([operand(inputs, k) for k in range(len(inputs))], axis=integer(attrs, "axis"), out=outputs[0])


KERNELS: dict[str, Kernel] = {f"concat_{s}": concat for s in SIZES}
