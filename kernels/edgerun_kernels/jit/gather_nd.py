"""gather_nd: y[i …, j …] = x[batch …, indices[i …], j …]; the last dimension of `indices` holds tuples, the first `batch_dims`
dimensions of x and indices go together.

An index out of range raises BadIndex (in C++ it is reported, and gives 0).
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Array, Attrs, Inputs, Kernel, Outputs, check_indices, integer, operand


def tuples(indices: Array, shape: tuple[int, ...], batch: int) -> tuple[Array, ...]:
    """The coordinates in data of `shape` of the slice that each tuple names. Raises BadIndex."""
    length = indices.shape[-1]
    extents = np.asarray(shape[batch : batch + length], np.int64)
    check_indices(indices, extents)
    outer: tuple[Array, ...] = tuple(np.indices(indices.shape[:-1], sparse=True))[:batch]
    named = np.where(indices < 0, indices + extents, indices)
    return (*outer, *(named[..., k] for k in range(length)))


def gather_nd(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices → y[outer dimensions of indices …, what is left of x …]."""
    x, indices = operand(inputs, 0), operand(inputs, 1)
    outputs[0][...] = x[tuples(indices, x.shape, integer(attrs, "batch_dims"))]


KERNELS: dict[str, Kernel] = {f"gather_nd_{s}": gather_nd for s in SIZES}
