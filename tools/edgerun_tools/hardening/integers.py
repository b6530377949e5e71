"""Exact ABFT of ConvInteger and MatMulInteger: sums of integers modulo 2³² have no rounding, so both sides must be equal.

As `conv.py`: the sum of a convolution's int32 output over all positions is W · (sum of the windows), with zero points taken off. The
sums of the windows are one MatMulInteger with a matrix of zeros and ones, which takes off the input's zero point; padding counts as it,
and adds nothing. As `matmul.py`: the sum of a product's columns is x · (sum of W's columns), in int32. A single wrong number
changes exactly one of the sums, by what it is wrong modulo 2³², which is never zero.

ONNX Runtime's kernels for uint8 times int8 saturate pairs of products in 16 bits on x86-64 without VNNI: sums that are wrong there are
reported, as they should be.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from edgerun_tools.hardening import windows
from edgerun_tools.hardening.graph import Graph, attribute
from edgerun_tools.hardening.verdict import Batch, Check, Verdict

MOST_MATRIX = 1 << 20
"""Elements of the matrix that sums windows (one byte each)."""


def check_conv(graph: Graph, node: onnx.NodeProto, weight: np.ndarray, zero: np.ndarray, verdict: Verdict, label: Check,
               batch: Batch) -> str | None:
    """Add the check of a ConvInteger, weight [M, C/g, taps…] and its zero point; None, or why it cannot be."""
    x, y = node.input[0], node.output[0]
    axes = windows.axes_of(node, graph.shape(x), graph.shape(y), weight.shape[2:])
    if axes is None:
        return "height or width is not known ahead"
    if math.prod(a.size * a.taps for a in axes) > MOST_MATRIX:
        return "image too large for sums of windows"
    graph.after(node)
    group, outputs = attribute(node, "group", 1), len(weight)
    ones = windows.taps_matrix(axes, [np.ones(a.out) for a in axes]).astype(np.int8)
    sums = _products(graph, graph.reshape(x, [0, 0, -1]), graph.add_constant(ones, "taps", shared=True), node)  # [N, C, taps]
    golden = (weight.astype(np.int32) - _per_output(zero, weight.ndim, 0)).reshape(group, outputs // group, -1)
    golden = np.ascontiguousarray(golden.transpose(0, 2, 1))
    rows = graph.reshape(sums, [0, group, 1, golden.shape[1]])
    expected = graph.add("MatMul", [rows, graph.add_constant(golden, "golden")])  # [N, g, 1, M/g]
    found = graph.reduce("ReduceSum", y, range(2, weight.ndim), keepdims=0)
    verdict.exact(label, batch, (found, 2), (graph.reshape(expected, [0, outputs]), 2), outputs)
    return None


def check_matmul(graph: Graph, node: onnx.NodeProto, weight: np.ndarray, zero: np.ndarray, verdict: Verdict, label: Check,
                 batch: Batch) -> None:
    """Add the check of a MatMulInteger of rank 2, weight [K, N]."""
    graph.after(node)
    columns = (weight.astype(np.int32) - _per_output(zero, 2, 1)).sum(axis=1, keepdims=True, dtype=np.int32)
    real = graph.add("Cast", [node.input[0]], to=onnx.TensorProto.INT32)
    if len(node.input) > 2 and node.input[2]:
        real = graph.add("Sub", [real, graph.add("Cast", [node.input[2]], to=onnx.TensorProto.INT32)])
    expected = graph.add("MatMul", [real, graph.add_constant(columns, "golden")])
    found = graph.reduce("ReduceSum", node.output[0], [1])
    verdict.exact(label, batch, (found, 2), (expected, 2), 1)


def _products(graph: Graph, x: str, ones: str, node: onnx.NodeProto) -> str:
    """x times a matrix of small integers, the input's zero point taken off."""
    zero = [node.input[2]] if len(node.input) > 2 and node.input[2] else []
    return graph.add("MatMulInteger", [x, ones, *zero])


def _per_output(zero: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A zero point, one or one an output, as int32 that broadcasts."""
    wide = zero.astype(np.int32)
    return wide.reshape([-1 if k == axis else 1 for k in range(rank)]) if wide.size > 1 else wide.reshape(())
