"""ABFT of convolutions: the mean of the output is the convolution of the mean window.

A convolution is linear, so for weights r of the output positions p, with y(p) = W·x(p) + b and x(p) the window [C/g, taps] at p,

    Σₚ r(p)·y(p)  =  W · Σₚ r(p)·x(p)  +  b·Σₚ r(p).

The left side is one reduction of the output, a number for each channel. On the right the *mean window* comes from the input alone
(`windows.py`: one matrix product with constant weights, or GlobalAveragePool for a 1×1 kernel), and the convolution has a single
position: 1/P of the multiplications for P positions, in every form there is: grouped, depthwise, strided, padded, dilated, transposed.
(The better known checksum, one more filter that is the sum of all, costs 1/M for M filters, which is everything where M is a group's one
channel; and it adds up M·K terms for every comparison instead of K, so that it sees M times less. It serves where P is not known ahead:
`conv_filters.py`.)

W and b on the right are a second copy of the weights, made here from the clean file: −W, so that nothing can take the two for one and
share them. A weight that changes later, in memory or in an optimiser's reordered copy, makes the two sides differ by δ·Σ r·x at once;
a wrong multiplication or addition, a skipped position or a corrupted bias does likewise. Equal weights (the mean) serve where the input
cannot be negative, for then no effect cancels; else random ones (`windows.weights_of`).

Bound (see `rounding.py`). With K terms a window and P positions, both sides together round at most n = 2·(K + P) + 10 times one after
the other (sum over K and bias, sum over P with its weights, and on the right also the golden copy's own rounding); where the sums
over rows and columns are taken one after the other, H + W stands for P. So |left + right| ≤ γ(n)·A with A = Σₖ |w(k)|·z(k) + |b| and
z(k) = Σₚ r(p)·|x(p, k)|:

    input ≥ 0:   z is the mean window itself, which is at hand:  A ≤ ‖w‖₂·‖z‖₂ + |b|
    else:        ‖z‖₂ ≤ ‖r‖₂·√R·‖x‖₂, with R the number of windows that one element of x is in (Cauchy and Schwarz over positions)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgerun_tools.hardening import affine, windows
from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.rounding import FLOOR, TINY, factor, gamma
from edgerun_tools.hardening.signs import nonnegative
from edgerun_tools.hardening.verdict import Batch, Check, Value, Verdict

MOST_MATRIX = 1 << 16
"""Elements of the matrix that sums windows; beyond, rows and columns are summed one after the other."""


@dataclass(frozen=True)
class Layer:
    """A convolution as the check needs it: operands, merged weights [M, C/g, taps…], and its spatial dimensions."""

    x: str
    chain: affine.Affine
    axes: list[windows.Axis]
    group: int


@dataclass(frozen=True)
class _Sums:
    """The mean window [N, C, taps…] and the mean output [N, M, 1…]; terms: positions added up one after the other."""

    window: Value
    total: Value
    taps: tuple[int, ...]
    terms: int


def check(graph: Graph, layer: Layer, verdict: Verdict, label: Check, batch: Batch, arithmetic: str) -> None:
    """Add the check of one layer whose sizes are known."""
    chain, axes = layer.chain, layer.axes
    graph.after(chain.nodes[-1])
    positive = nonnegative(graph, layer.x)
    weights = windows.weights_of(axes, random=not positive)
    held = math.prod(float(w.sum()) for w in weights)
    sums = _sums(graph, layer, weights, positive)
    predicted = _predicted(graph, sums, chain, held, layer.group)
    norms = np.linalg.norm(chain.weight.reshape(len(chain.weight), -1), axis=1)
    count = chain.weight[0].size * layer.group
    source = sums.window
    if not positive:
        norms = norms * math.prod(float(np.linalg.norm(w)) * math.sqrt(a.repeats) for a, w in zip(axes, weights, strict=True))
        count, source = chain.weight.shape[1] * layer.group * math.prod(a.size for a in axes), (layer.x, len(axes) + 2)
    axes_of_norm = range(1, source[1])
    norm = graph.reduce("ReduceL2", source[0], axes_of_norm) if positive else graph.squares(source[0], axes_of_norm)
    roundings = 2 * (chain.weight[0].size + sums.terms) + 10 + chain.roundings
    each = factor(roundings, norms, count + sums.terms, arithmetic)  # the window's own sums are rounded too
    floor = each * FLOOR * math.sqrt(count) + gamma(roundings) * held * chain.size + roundings * TINY
    verdict.bounded(label, batch, (sums.total, predicted), each, floor, (norm, source[1]),
                    square=not positive)


def _predicted(graph: Graph, sums: _Sums, chain: affine.Affine, held: float, group: int) -> Value:
    """Minus what the mean output must be. Without groups it is a matrix product, which runtimes do faster than a convolution."""
    bias = graph.add_constant(-(held * chain.bias).astype(np.float32), "golden_bias")
    if group == 1:
        golden = -chain.weight.reshape(len(chain.weight), -1).T.astype(np.float32)
        return graph.add("Gemm", [graph.add("Flatten", [sums.window[0]]), graph.add_constant(golden, "golden"), bias],
                         "predicted"), 2
    golden = -chain.weight.reshape(*chain.weight.shape[:2], *sums.taps).astype(np.float32)
    return graph.add("Conv", [sums.window[0], graph.add_constant(golden, "golden"), bias], "predicted", group=group), sums.window[1]


def _sums(graph: Graph, layer: Layer, weights: list[np.ndarray], positive: bool) -> _Sums:
    """Sum input windows and outputs over the positions, in the cheapest form."""
    x, y, axes = layer.x, layer.chain.output, layer.axes
    rank, positions = len(axes) + 2, math.prod(a.out for a in axes)
    if len(axes) == 2 and math.prod(a.size * a.taps for a in axes) > MOST_MATRIX:
        read = _rows_then_columns(graph, x, [a.matrix(w) for a, w in zip(axes, weights, strict=True)])
        made = _rows_then_columns(graph, y, [w[:, None] for w in weights])
        return _Sums((read, 4), (made, 4), tuple(a.taps for a in axes), sum(max(a.size, a.out) for a in axes))
    if positive and all(a.pointwise for a in axes):
        return _Sums((_mean(graph, x, rank), rank), (_mean(graph, y, rank), rank), (1,) * len(axes), positions)
    matrix = graph.add_constant(windows.taps_matrix(axes, weights).astype(np.float32), "taps", shared=True)
    window = graph.add("MatMul", [graph.reshape(x, [0, 0, -1]), matrix], "window"), 3
    total: Value
    if positive:
        total = _mean(graph, y, rank), rank
    else:
        column = graph.add_constant(windows.outer(weights).astype(np.float32)[:, None], "positions", shared=True)
        total = graph.add("MatMul", [graph.reshape(y, [0, 0, -1]), column], "total"), 3
    return _Sums(window, total, (math.prod(a.taps for a in axes),), positions)


def _mean(graph: Graph, x: str, rank: int) -> str:
    """Over all positions. GlobalAveragePool is known to ONNX Runtime's blocked layout, ReduceMean to every rank."""
    return graph.add("GlobalAveragePool", [x], "mean") if rank == 4 else graph.reduce("ReduceMean", x, range(2, rank))


def _rows_then_columns(graph: Graph, x: str, matrices: list[np.ndarray]) -> str:
    """A^T X B for A [H, m], B [W, n]: [N, C, m, n]."""
    rows, columns = (m.astype(np.float32) for m in matrices)
    right = graph.add("MatMul", [x, graph.add_constant(columns, "columns", shared=True)])
    return graph.add("MatMul", [graph.add_constant(rows.T, "rows", shared=True), right], "summed")
