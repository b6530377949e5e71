"""Quantised models run on integers: the pass that makes int8 kernels of dequantize → operator → quantize (docs/int8.md)."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.ops.graph import is_op, sweep

from ..hoist import hoist_activations
from .binary import fuse_binary
from .linear import float_linear, fuse_linear
from .move import move_pairs
from .pooling import float_softmax, fuse_pool, fuse_softmax
from .reasons import explain, is_quantised
from .sums import fuse_sum
from .table import float_tables, fuse_table

__all__ = ["move_pairs", "quantise"]

_FUSERS = (fuse_table, fuse_linear, fuse_binary, fuse_sum, fuse_pool, fuse_softmax)


def quantise(model: ir.Model) -> int:
    """Returns how many nodes were moved or fused. Every operator that computes is told in `meta["int8"]` whether it does so
    in int8 ("") or why not, unless nothing in the model is quantised."""
    graphs = list(model.graphs())
    if not any(is_quantised(graph) for graph in graphs):
        return 0
    count = hoist_activations(model) + move_pairs(model)
    for graph in graphs:
        for node in list(graph):
            if is_op(node, "quantize"):
                count += any(fuse(node) for fuse in _FUSERS)
        for node in list(graph):
            if is_op(node, "softmax"):
                count += float_softmax(node)
            elif is_op(node, "conv", "matmul"):
                count += float_linear(node)
        count += float_tables(graph)
    count += sweep(model.graph)
    for graph in graphs:
        explain(graph)
    return count
