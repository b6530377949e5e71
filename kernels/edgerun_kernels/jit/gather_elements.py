"""gather_elements: y[c0 …, ck, … cn] = x[c0 …, indices[c], … cn], the index on `axis`; negative ones count from the end.

An index out of range raises BadIndex (in C++ it is reported, and gives 0).
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import SIZES, Array, Attrs, Inputs, Kernel, Outputs, check_indices, integer, operand


def along(indices: Array, axis: int, extent: int) -> tuple[Array, ...]:
    """The coordinates in the data of each entry of the index tensor. Raises BadIndex."""
    check_indices(indices, extent)
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + extent, indices)
    return tuple(places)


def gather_elements(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x indices → y, of the shape of the indices."""
    x, indices = operand(inputs, 0), operand(inputs, 1)
    axis = integer(attrs, "axis") % x.ndim
    outputs[0][...] = x[along(indices, axis, x.shape[axis])]


KERNELS: dict[str, Kernel] = {f"gather_elements_{s}": gather_elements for s in SIZES}
