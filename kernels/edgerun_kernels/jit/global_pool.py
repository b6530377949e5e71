"""global_average_pool_f32, global_max_pool_f32: x[N,…,C] → y[N,1…,C] over all spatial dimensions. NaN in → NaN out."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def global_average_pool(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, the sum taken in float64."""
    x, y = operand(inputs, 0), outputs[0]
    with np.errstate(all="ignore"):
        y[...] = x.mean(axis=tuple(range(1, x.ndim - 1)), dtype=np.float64).reshape(y.shape)


def global_max_pool(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y; -inf where there is nothing."""
    x, y = operand(inputs, 0), outputs[0]
    y[...] = x.max(axis=tuple(range(1, x.ndim - 1)), initial=-np.inf).reshape(y.shape)


KERNELS: dict[str, Kernel] = {"global_average_pool_f32": global_average_pool, "global_max_pool_f32": global_max_pool}
