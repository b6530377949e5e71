"""conv_transpose2d_f32: every input pixel adds its weighted window to the output.

x[N,H,W,Ci] w[Co/g,KH,KW,Ci] b[Co]? → y = act(conv + b) [N,OH,OW,Co]. Input pixel (h, w) reaches the output at
(h·stride + i·dilation - pad). Input channels of group g feed its output channels only.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.jit.activation import finish
from edgerun_kernels.jit.windows import tap, window
from edgerun_kernels.types import Attrs, Inputs, Kernel, Outputs, integer, operand, optional


@np.errstate(all="ignore")
def conv_transpose2d(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x w b? → y."""
    x, w, y = operand(inputs, 0), operand(inputs, 1), outputs[0]
    bias = optional(inputs, 2)
    group = integer(attrs, "group", 1)
    win = window(attrs, w.shape[1:3])
    batch, height, width, channels = x.shape
    cin, cout = channels // group, w.shape[0]
    top, left = win.pads[0], win.pads[1]
    # The canvas holds all windows and all of the output; what lies outside the output is cut away.
    canvas = np.zeros((
        batch,
        max((height - 1) * win.strides[0] + (win.kernel[0] - 1) * win.dilations[0] + 1, top + y.shape[1]),
        max((width - 1) * win.strides[1] + (win.kernel[1] - 1) * win.dilations[1] + 1, left + y.shape[2]),
        cout * group,
    ), np.float32)
    for g in range(group if x.size else 0):
        pixels = np.ascontiguousarray(x[..., g * cin : (g + 1) * cin]).reshape(-1, cin)
        for i in range(win.kernel[0]):
            for j in range(win.kernel[1]):
                part = pixels @ w[:, i, j, g * cin : (g + 1) * cin].T
                target = tap(canvas, win, (height, width), i, j)[..., g * cout : (g + 1) * cout]
                target += part.reshape(batch, height, width, cout)
    total = canvas[:, top : top + y.shape[1], left : left + y.shape[2]]
    if bias is not None:
        total = total + bias
    finish(total, attrs, y, sink)


KERNELS: dict[str, Kernel] = {"conv_transpose2d_f32": conv_transpose2d}
