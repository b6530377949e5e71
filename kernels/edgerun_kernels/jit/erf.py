"""erf_f32: y = erf(x), the error function, in float64 rounded once. NaN in → NaN out. Check: erf(x) = 1 - erfc(x)."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_function
from edgerun_kernels.special import erf64
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, operand


def erf(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → erf(x)."""
    with np.errstate(all="ignore"):  # a signalling NaN
        wide = operand(inputs, 0).astype(np.float64)
        outputs[0][...] = erf64(wide)
    if sink is not None:
        sink.inject(outputs[0])
        check_function(sink, "erf", wide.reshape(-1), outputs[0].reshape(-1))


KERNELS: dict[str, Kernel] = {"erf_f32": erf}
