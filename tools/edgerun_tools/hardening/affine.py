"""A layer that is linear in its input, with the constants that follow it: one weight and one bias.

Optimisers fold a BatchNormalization into the convolution before it, and an addition of a constant into its bias. A check that read
what lies between them would keep the parts apart, and cost time; so the whole chain is checked as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgerun_tools.hardening.graph import Graph, attribute

MERGED_ROUNDINGS = 4
"""What a normalisation or addition of its own, or its folding into weights, rounds: a product, two sums, and the folded weight."""


@dataclass(frozen=True)
class Affine:
    """output = weight · windows of the input + bias, float64; `size` [M]: sum of the absolute values that make up the bias.

    nodes: the chain, first the layer itself. constants: names of everything that is in weight and bias. roundings: those that the
    chain adds to the layer's own.
    """

    nodes: tuple[onnx.NodeProto, ...]
    weight: np.ndarray
    bias: np.ndarray
    size: np.ndarray
    constants: tuple[str, ...]
    roundings: int = 0

    @property
    def output(self) -> str:
        return self.nodes[-1].output[0]


def of(graph: Graph, node: onnx.NodeProto, weight: np.ndarray, bias: np.ndarray | None, constants: tuple[str, ...], *,
       last: bool = False) -> Affine:
    """The layer and what may be merged with it. weight: float, [M, …] (last: […, M], as MatMul has it); bias [M] or None."""
    channels = weight.shape[-1 if last else 0]
    held = np.zeros(channels) if bias is None else np.broadcast_to(np.asarray(bias, np.float64), (channels,))
    found = Affine((node,), weight.astype(np.float64), held, np.abs(held), constants)
    while True:
        reader = graph.only_reader(found.output)
        longer = None if reader is None else _merged(graph, found, reader, last)
        if longer is None:
            return found
        found = longer


def _merged(graph: Graph, found: Affine, reader: onnx.NodeProto, last: bool) -> Affine | None:
    if reader.domain:
        return None
    if reader.op_type == "BatchNormalization" and not last and reader.input[0] == found.output:
        return _normalised(graph, found, reader)
    if reader.op_type == "Add" and len(reader.input) == 2:
        other = reader.input[1 if reader.input[0] == found.output else 0]
        value, rank = graph.constant(other), graph.rank(found.output)
        if value is None or rank is None or other == found.output:
            return None
        added = _per_channel(value, len(found.bias), rank, last)
        if added is not None:
            return replace(found, nodes=(*found.nodes, reader), bias=found.bias + added, size=found.size + np.abs(added),
                           constants=(*found.constants, other), roundings=found.roundings + MERGED_ROUNDINGS)
    return None


def _per_channel(value: np.ndarray, channels: int, rank: int, last: bool) -> np.ndarray | None:
    """A constant that is added to a tensor of this rank, as one number a channel; None where it is not that, or adds dimensions."""
    if value.ndim > rank or value.dtype != np.float32:
        return None
    if value.size == 1:
        return np.full(channels, float(value.reshape(-1)[0]))
    place = rank - 1 if last else 1
    shape = (1,) * (rank - value.ndim) + value.shape
    if shape[place] != channels or value.size != channels:
        return None
    return value.reshape(-1).astype(np.float64)


def _normalised(graph: Graph, found: Affine, node: onnx.NodeProto) -> Affine | None:
    if len([o for o in node.output if o]) != 1 or attribute(node, "training_mode", 0):
        return None
    held = [graph.constant(n) for n in node.input[1:5]]
    if any(v is None or v.dtype != np.float32 or v.shape != found.bias.shape for v in held):
        return None
    gain, shift, mean, variance = (np.asarray(v, np.float64) for v in held)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = gain / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    if not np.isfinite(factor).all():
        return None
    weight = found.weight * factor.reshape(-1, *[1] * (found.weight.ndim - 1))
    bias = (found.bias - mean) * factor + shift
    size = (found.size + np.abs(mean)) * np.abs(factor) + np.abs(shift)
    return replace(found, nodes=(*found.nodes, node), weight=weight, bias=bias, size=size,
                   constants=(*found.constants, *node.input[1:5]), roundings=found.roundings + 2 * MERGED_ROUNDINGS)
