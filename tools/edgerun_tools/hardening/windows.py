"""Where a convolution's taps fall: the matrices that sum an input over all positions of the output, tap by tap.

For tap (i, j) of a kernel, output position (p, q) reads input (p·sₕ + i·dₕ − padₕ, q·s_w + j·d_w − pad_w), or zero outside. The weighted
sum over all positions, Σ r(p)·r(q)·x(…), is therefore Aᵀ·X·B with A [H, kₕ] and B [W, k_w], whose entry (h, i) is r(p) where output p
reads h at tap i, else 0. For a transposed convolution input h with tap i is *added to* output h·s + i·d − pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx

from edgerun_tools.hardening.graph import attribute
from edgerun_tools.hardening.opset import Dim

WEIGHT_BITS = 6
"""Random weights are multiples of 2⁻⁶ in [0.5, 1.5): exact in float32, and so are products of three of them."""


@dataclass(frozen=True)
class Axis:
    """One spatial dimension: sizes of input, output and kernel; first: what is subtracted from the position (the padding)."""

    size: int
    out: int
    taps: int
    stride: int
    dilation: int
    first: int
    transposed: bool = False

    def matrix(self, weights: np.ndarray) -> np.ndarray:
        """[size, taps]: `weights` [out] where an output position reads (or takes from) an input position at a tap."""
        found = np.zeros((self.size, self.taps))
        for tap in range(self.taps):
            if self.transposed:
                at, to = np.arange(self.size), np.arange(self.size) * self.stride + tap * self.dilation - self.first
                held = (to >= 0) & (to < self.out)
            else:
                to = np.arange(self.out)
                at = to * self.stride + tap * self.dilation - self.first
                held = (at >= 0) & (at < self.size)
            found[at[held], tap] = weights[to[held]]
        return found

    @property
    def pointwise(self) -> bool:
        """Whether every output position reads the one input position of its own number."""
        return self.taps == self.stride == 1 and self.first == 0 and self.size == self.out

    @property
    def repeats(self) -> int:
        """Most windows that one input position is in."""
        return int((self.matrix(np.ones(self.out)) != 0).sum(axis=1).max(initial=0))


def axes_of(node: onnx.NodeProto, x: tuple[Dim, ...] | None, y: tuple[Dim, ...] | None,
            kernel: tuple[int, ...]) -> list[Axis] | None:
    """The spatial dimensions of a Conv, ConvInteger, QLinearConv or ConvTranspose; None where a size is not known ahead."""
    if x is None or y is None or len(x) != len(y):
        return None
    sizes = [d for d in (*x[2:], *y[2:]) if isinstance(d, int) and d > 0]
    rank = len(kernel)
    if len(sizes) != 2 * rank or rank != len(x) - 2:
        return None
    sources, targets = sizes[:rank], sizes[rank:]
    strides, dilations = (attribute(node, n, [1] * rank) for n in ("strides", "dilations"))
    transposed = node.op_type == "ConvTranspose"
    firsts = _first(node, sources, targets, kernel, strides, dilations, transposed)
    return [Axis(sources[k], targets[k], kernel[k], strides[k], dilations[k], firsts[k], transposed) for k in range(rank)]


def _first(node: onnx.NodeProto, x: list[int], y: list[int], kernel: tuple[int, ...], strides: list[int],
           dilations: list[int], transposed: bool) -> list[int]:
    """Padding before the first element, by dimension."""
    mode = attribute(node, "auto_pad", b"NOTSET").decode()
    if mode == "NOTSET" and not (transposed and attribute(node, "output_shape", None)):
        return list(attribute(node, "pads", [0] * 2 * len(x)))[:len(x)]
    if mode == "VALID":
        return [0] * len(x)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if transposed:
        extra = attribute(node, "output_padding", [0] * len(x))
        total = [s * (a - 1) + o + r - b for a, b, s, r, o in zip(x, y, strides, reach, extra, strict=True)]
    else:
        total = [s * (b - 1) + r - a for a, b, s, r in zip(x, y, strides, reach, strict=True)]
    total = [max(t, 0) for t in total]
    # ConvTranspose with output_shape and auto_pad NOTSET puts the larger half first, as SAME_LOWER does.
    return [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]


def weights_of(axes: list[Axis], random: bool) -> list[np.ndarray]:
    """Weights of the output positions, one vector [out] a dimension; position (p, q) has their product.

    Equal weights whose products sum to 1; or, random, between 0.5 and 1.5 times a power of two near that, fixed by the sizes: sums of
    numbers of both signs cancel (those of a normalised image are zero), randomly weighted ones do not.
    """
    if not random:
        return [np.full(a.out, 1.0 / a.out) for a in axes]
    rng = np.random.default_rng([a.out for a in axes])
    steps = 1 << WEIGHT_BITS
    return [rng.integers(steps // 2, steps + steps // 2, a.out) / steps * 2.0 ** -np.ceil(np.log2(a.out)) for a in axes]


def outer(vectors: list[np.ndarray]) -> np.ndarray:
    """The product of one vector a dimension, flattened."""
    return reduce(np.multiply.outer, vectors, np.ones(())).reshape(-1)


def taps_matrix(axes: list[Axis], weights: list[np.ndarray]) -> np.ndarray:
    """[input positions, taps], all spatial dimensions flattened: the Kronecker product of the dimensions' matrices."""
    return reduce(np.kron, [a.matrix(w) for a, w in zip(axes, weights, strict=True)], np.ones((1, 1)))
