"""cast_<from>_<to>: C semantics. float → integer truncates toward zero and saturates, NaN → 0; integer → integer wraps;
→ b8 is x ≠ 0 (NaN is true); → a narrower float rounds once, to nearest even."""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import ALL, Array, Attrs, Inputs, Kernel, Outputs, operand

FLOATS = "fV"
"""NumPy kinds: bfloat16 is "V"."""


def saturate(x: Array, dtype: np.dtype) -> Array:
    """Floats to integers, toward zero, clamped to what dtype holds; NaN → 0."""
    info = np.iinfo(dtype)
    x = x.astype(np.float64)
    # 2^63 and 2^64 are exact in float64, the largest integers are not: compare before converting.
    above, below = x >= float(info.max), x <= float(info.min)
    inside = np.where(above | below | np.isnan(x), 0.0, x)
    return np.where(above, dtype.type(info.max), np.where(below, dtype.type(info.min), inside.astype(dtype)))


def odd(x: Array) -> Array:
    """Float64 as float32 with the last bit set where anything was lost (round to odd): rounding once more is rounding once."""
    near = x.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.int32) - (np.abs(back) > np.abs(x))
    return np.where((back == x) | np.isnan(x), near, (bits | 1).astype(np.int32).view(np.float32))


def cast(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y of the output's dtype."""
    x, y = operand(inputs, 0), outputs[0]
    with np.errstate(all="ignore"):
        if y.dtype.kind == "b":
            y[...] = x != 0
        elif x.dtype.kind in FLOATS and y.dtype.kind in "iu":
            y[...] = saturate(x, y.dtype)
        elif y.dtype.kind == "V" and x.dtype != np.float32:
            y[...] = odd(x.astype(np.float64)).astype(y.dtype)  # ml_dtypes rounds twice, by way of float32
        else:
            y[...] = x.astype(y.dtype)


KERNELS: dict[str, Kernel] = {
    **{f"cast_{a}_{b}": cast for a in ALL for b in ALL},
    **{f"cast_{h}_{b}": cast for h in ("f16", "bf16") for b in ALL},
    **{f"cast_{a}_{h}": cast for h in ("f16", "bf16") for a in ALL},
    "cast_f16_bf16": cast, "cast_bf16_f16": cast,
}
