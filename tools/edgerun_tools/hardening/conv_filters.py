"""ABFT of convolutions whose positions are not known ahead (symbolic height or width): one more filter a group.

With B = M/g filters in a group, Σₘ y(m, p) = (Σₘ W(m)) * x (p) + Σₘ b(m) at every position p: the sum of the group's output channels is
the output of the sum of its filters. That filter, negated, comes from the clean file. It costs 1/B of the layer's multiplications;
for a depthwise layer (B = 1) it is the layer over again with the second copy of the weights, and nothing cheaper is possible
without knowing the positions.

Bound, in the 2-norm over the positions: with n = 2·K + B + 10 roundings, K terms a window, and the 2-norm of a convolution with |w| at most
(Σ over taps of |w|, a norm over channels) times ‖x‖₂ (Young's inequality; padding and strides only leave terms out),

    ‖left + right‖₂ ≤ γ(n)·(s·‖x‖₂ + ‖Σₘ|b(m)|‖₂),      s = ‖ Σₘ Σ_taps |W(m, c)| ‖₂ over c.

How long the vector of biases is depends on the positions; but |b(m)| ≤ |y(m)| + Σ|w||x|, so ‖Σ|b|‖₂ ≤ √B·‖y‖₂ + s·‖x‖₂. A fault makes
‖y‖ larger too, γ(n)·√B times as much as it is itself, which hides nothing.
"""

from __future__ import annotations

import math

import numpy as np

from edgerun_tools.hardening.affine import Affine
from edgerun_tools.hardening.graph import Graph, attribute
from edgerun_tools.hardening.rounding import ARITHMETIC, FLOOR, NORM_SLACK, TINY, gamma
from edgerun_tools.hardening.verdict import Batch, Check, Verdict

_KEPT = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")


def check(graph: Graph, x: str, chain: Affine, group: int, verdict: Verdict, label: Check, batch: Batch, arithmetic: str) -> None:
    """Add the check of one Conv (chain.weight [M, C/g, taps…])."""
    graph.after(chain.nodes[-1])
    weight, node = chain.weight, chain.nodes[0]
    filters, rank = len(weight) // group, weight.ndim
    grouped = weight.reshape(group, filters, *weight.shape[1:])
    golden = graph.add_constant(-grouped.sum(axis=1).astype(np.float32), "golden")
    bias = graph.add_constant(-chain.bias.reshape(group, filters).sum(axis=1).astype(np.float32), "golden_bias")
    kept = {n: v for n in _KEPT if (v := attribute(node, n, None)) is not None}
    predicted = graph.add("Conv", [x, golden, bias], "predicted", group=group, **kept)
    if filters == 1:
        total = chain.output
    elif group == 1:
        total = graph.reduce("ReduceSum", chain.output, [1])
    else:
        ones = graph.add_constant(np.ones((group, filters, *[1] * (rank - 2)), np.float32), "ones", shared=True)
        total = graph.add("Conv", [chain.output, ones], "total", group=group)
    left = graph.reduce("ReduceL2", graph.add("Add", [total, predicted]), range(2, rank)), rank
    taps = np.abs(grouped).sum(axis=(1, *range(3, rank + 1)))  # [g, C/g]
    each = np.linalg.norm(taps, axis=1)
    roundings = 2 * weight[0].size + filters + 10 + chain.roundings
    relative = NORM_SLACK * (gamma(roundings) + ARITHMETIC[arithmetic])
    # factor·(‖x‖ + share·‖y‖), with one factor a group and the share that the smallest of them needs
    strength = 2 * max(float(each.max(initial=0)), math.sqrt(filters) * TINY)
    share = graph.add_constant(np.array(math.sqrt(filters) / strength, np.float32), "share")
    norms = [graph.add("Sqrt", [graph.squares(n, range(1, rank))]) for n in (x, chain.output)]
    norm = graph.add("Add", [norms[0], graph.add("Mul", [norms[1], share])])
    factors = np.full(group, relative * strength)
    verdict.bounded(label, batch, (left,), factors, factors * FLOOR + 2**21 * roundings * TINY, (norm, rank))
