"""difficulty_f32: how hard an image is, in [0, 1] (DART, arXiv 2603.12269, Eq. 1-8).

x (N images, NCHW or NHWC) → y[N,4] = (alpha, edge, variance, laplacian), or y[4] of one image. With pixels
p = x · scale + offset ∈ [0, 1] and grey g = Σ_c gray_c · p_c, over all H·W positions, the border continued by its edge
value:

    edge       share of positions whose Sobel magnitude of g exceeds tau_edge
    variance   mean over the channels of the spatial variance of p
    laplacian  mean |4 g - up - down - left - right|
    alpha      clip(Σ_k weights_k · clip((value_k - low_k) / (high_k - low_k), 0, 1), 0, 1)

An image's answer does not depend on what else is in the batch. float64 sums of float32 pixels.
"""

from __future__ import annotations

import numpy as np

from edgerun_kernels.checks import Sink
from edgerun_kernels.types import Array, Attrs, Inputs, Kernel, Outputs, integer, number, operand


def components(x: Array, attrs: Attrs) -> tuple[float, float, float]:
    """(edge, variance, laplacian) of one image [C, H, W]."""
    scale, offset, gray = (np.asarray(attrs[k], np.float32)[:, None, None] for k in ("scale", "offset", "gray"))
    p = x * scale + offset
    g = np.pad((p * gray).sum(axis=0, dtype=np.float32), 1, mode="edge")
    up, middle, down = g[:-2], g[1:-1], g[2:]
    gx = (up[:, 2:] - up[:, :-2]) + np.float32(2) * (middle[:, 2:] - middle[:, :-2]) + (down[:, 2:] - down[:, :-2])
    gy = (down[:, :-2] - up[:, :-2]) + np.float32(2) * (down[:, 1:-1] - up[:, 1:-1]) + (down[:, 2:] - up[:, 2:])
    tau = number(attrs, "tau_edge")
    edge = float(np.mean(gx * gx + gy * gy > tau * tau))
    variance = float(p.astype(np.float64).var(axis=(1, 2)).mean())
    laplacian = np.float32(4) * middle[:, 1:-1] - up[:, 1:-1] - down[:, 1:-1] - middle[:, :-2] - middle[:, 2:]
    return edge, variance, float(np.abs(laplacian).mean(dtype=np.float64))


def difficulty(inputs: Inputs, attrs: Attrs, outputs: Outputs, sink: Sink | None) -> None:
    """x → y, float32."""
    x = operand(inputs, 0)
    images = x.reshape(-1, *x.shape[-3:])
    if integer(attrs, "layout"):
        images = np.moveaxis(images, -1, 1)
    y = outputs[0].reshape(-1, 4)
    for n, image in enumerate(images):
        values = components(image, attrs)
        alpha = 0.0
        for value, low, high, weight in zip(values, attrs["low"], attrs["high"], attrs["weights"], strict=True):
            alpha += float(weight) * min(max((value - low) / (high - low), 0.0), 1.0)
        y[n] = (min(max(alpha, 0.0), 1.0), *values)


KERNELS: dict[str, Kernel] = {"difficulty_f32": difficulty}
