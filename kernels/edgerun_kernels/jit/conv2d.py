"""conv2d_f32: y = act(conv(x, w) + b + r), channels-last, grouped; each group is one matrix product over its windows.

x[N,H,W,Ci] w[Co,KH,KW,Ci/g] b[Co]? r[N,OH,OW,Co]? → y[N,OH,OW,Co]. Error at most c·n·eps·Σ|x||w|, n = KH·KW·Ci/g.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink, check_products
from edgerun_kernels.jit.activation import finish
from edgerun_kernels.jit.windows import columns, padded, window
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, optional


@np.errstate(all="ignore")
def conv2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w b? r? → y. abft: the sums are verified by their checksum."""
    x, w, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    bias, residual = optional(inputs, 2), optional(inputs, 3)
    group = integer(attrs, "group", 1)
    win = window(attrs, w.shape[1:3])
    out_hw = (y.shape[1], y.shape[2])
    cin, cout = w.shape[3], w.shape[0] // group
    total = np.empty(y.shape, np.float32)
    if y.size:
        x = padded(x, win, out_hw, 0.0)
        for g in range(group):
            rows = columns(x[..., g * cin : (g + 1) * cin], win, out_hw)
            weights = w[g * cout : (g + 1) * cout].reshape(cout, rows.shape[1])
            sums = rows @ weights.T
            if sink is not None and integer(attrs, "abft"):
                sink.strike("accumulator", sums)
                each, all_of = rows.sum(axis=0, dtype=np.float64), np.abs(rows).sum(axis=0, dtype=np.float64)
                check_products(sink, g * cout, sums, weights @ each, np.abs(weights) @ all_of, rows.shape[1])
            total[..., g * cout : (g + 1) * cout] = sums.reshape(*y.shape[:3], cout)
    if bias is not None:
        total += bias
    if residual is not None:
        total += residual
    finish(total, attrs, y, sink)


KERNELS: dict[str, Kernel] = {"conv2d_f32": conv2d}
