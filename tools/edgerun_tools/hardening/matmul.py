"""ABFT of matrix products: outputs in blocks, each with one more column.

For y = x·W + b, the sum of B neighbouring outputs is x times the sum of their columns, plus the sum of their biases. The columns'
sums, negated, come from the clean file: 1/B of the layer's multiplications. B is at most 16: larger blocks cost less, and see less,
as the bound grows with B while the effect of one weight does not.

Bound (see `rounding.py`): with K terms and n = 2·K + B + 10 roundings, |left + right| ≤ γ(n)·(‖x‖₂·‖w‖₂ + Σ|b|), where w(k) is the sum
of |W(k, j)| over the block. Where the input has more than two dimensions, the rows are put together in the 2-norm:
‖left + right‖₂ ≤ γ(n)·‖x‖₂·‖w‖₂ with the norm of all of x.

A product of two inputs, as in attention, has no weights to keep: there the sums are formed while it runs,
Σⱼ (A·B)(i, j) = A·(Σⱼ B(·, j)), which sees faults of the product, and |left − right| ≤ γ(n)·√N·‖A‖₂·‖B‖₂ in the 2-norm over rows, for
N columns.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from edgerun_tools.hardening.affine import Affine
from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.rounding import ARITHMETIC, FLOOR, NORM_SLACK, TINY, factor, gamma
from edgerun_tools.hardening.verdict import ONE, Batch, Check, Value, Verdict

MOST_BLOCK = 16


def check(graph: Graph, x: str, chain: Affine, verdict: Verdict, label: Check, batch: Batch, arithmetic: str,
          transposed: bool = False) -> None:
    """Add the check of x·W + b, x [N, K] (transposed: [K, N]), chain.weight [K, outputs]; flags of every row."""
    graph.after(chain.nodes[-1])
    x = graph.add("Transpose", [x], perm=[1, 0]) if transposed else x
    total, predicted, block = _sides(graph, x, 2, chain)
    depth = len(chain.weight)
    roundings = 2 * depth + block + 10 + chain.roundings
    each = factor(roundings, _norms(chain, block), depth, arithmetic)
    floor = (each * FLOOR * math.sqrt(depth) + roundings * TINY
             + gamma(roundings) * chain.size.reshape(-1, block).sum(axis=1))
    verdict.bounded(label, batch, ((total, 2), (predicted, 2)), each, floor, (graph.reduce("ReduceL2", x, [1]), 2))


def check_rows(graph: Graph, x: str, rank: int, chain: Affine, verdict: Verdict, label: Check, arithmetic: str) -> None:
    """Add the check of x·W, x of more dimensions than two and chain without bias; all rows are judged together."""
    graph.after(chain.nodes[-1])
    total, predicted, block = _sides(graph, x, rank, chain)
    left = graph.reduce("ReduceL2", graph.add("Add", [total, predicted]), range(rank - 1))
    roundings = 2 * len(chain.weight) + block + 10
    each = NORM_SLACK * (gamma(roundings) + ARITHMETIC[arithmetic]) * _norms(chain, block)
    verdict.bounded(label, ONE, (_row(graph, left, rank),), each, each * FLOOR + 2**21 * roundings * TINY,
                    _row(graph, graph.reduce("ReduceL2", x, None), rank))


def check_inputs(graph: Graph, node: onnx.NodeProto, rank: int, depth: int, columns: int, verdict: Verdict, label: Check,
                 arithmetic: str) -> None:
    """Add the check of a product of two inputs of equal rank, depth × columns the second one's last dimensions."""
    graph.after(node)
    a, b = node.input
    last = [rank - 1]
    summed = graph.add("MatMul", [a, graph.reduce("ReduceSum", b, last)])
    apart = graph.add("Sub", [graph.reduce("ReduceSum", node.output[0], last), summed])
    norms = graph.add("Mul", [graph.reduce("ReduceL2", n, None) for n in (a, b)])
    roundings = 2 * (depth + columns) + 10
    each = np.array([NORM_SLACK**2 * (gamma(roundings) + ARITHMETIC[arithmetic]) * math.sqrt(columns)])
    verdict.bounded(label, ONE, (_row(graph, graph.reduce("ReduceL2", apart, None), rank),), each,
                    each * FLOOR + 2**21 * roundings * TINY, _row(graph, norms, rank))


def block_of(outputs: int) -> int:
    """How many outputs share one column: a divisor of their number, at most MOST_BLOCK (all of them where they are prime to it)."""
    if outputs <= MOST_BLOCK:
        return outputs
    return max(b for b in range(1, MOST_BLOCK + 1) if outputs % b == 0)


def _sides(graph: Graph, x: str, rank: int, chain: Affine) -> tuple[str, str, int]:
    """(sums of the outputs' blocks, their negated prediction, both [..., blocks]; outputs a block)."""
    depth, outputs = chain.weight.shape
    block = block_of(outputs)
    golden = -chain.weight.reshape(depth, -1, block).sum(axis=2).astype(np.float32)
    bias = -chain.bias.reshape(-1, block).sum(axis=1).astype(np.float32)
    inputs = [x, graph.add_constant(golden, "golden")]
    if rank == 2:
        predicted = graph.add("Gemm", [*inputs, graph.add_constant(bias, "golden_bias")], "predicted")
    else:
        predicted = graph.add("MatMul", inputs, "predicted")
    total = chain.output
    if block == outputs:
        total = graph.reduce("ReduceSum", total, [rank - 1])
    elif block > 1:
        total = graph.reduce("ReduceSum", graph.reshape(total, [*[0] * (rank - 1), outputs // block, block]), [rank], keepdims=0)
    return total, predicted, block


def _norms(chain: Affine, block: int) -> np.ndarray:
    """‖w‖₂ of every block."""
    return np.linalg.norm(np.abs(chain.weight).reshape(len(chain.weight), -1, block).sum(axis=2), axis=0)


def _row(graph: Graph, x: str, rank: int) -> Value:
    """[1, …, 1, n] as [1, n]."""
    return (x, 2) if rank == 2 else (graph.add("Flatten", [x], axis=rank - 1), 2)
