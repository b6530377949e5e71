"""Relu and Clip in front of a "quantize" are bounds of its integers: quantisation keeps the order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import dtype_of, get, is_op, make, producer, shape_of

from ..edit import absorb, before, drop, only_use, replace
from .grid import Grid, grid_of


@dataclass(frozen=True)
class Target:
    """Where a quantised operator's result goes: `source` makes the float value, the operators of `chain` bound it (the last
    one applied first), `node` is the "quantize"."""

    node: ir.Node
    source: ir.Node
    chain: tuple[ir.Node, ...]
    grid: Grid
    low: int
    high: int

    def attributes(self) -> dict[str, int]:
        return {"y_zero": self.grid.zero, "low": self.low, "high": self.high}

    def put(
        self, op: str, inputs: Sequence[ir.Value | None], attrs: Mapping[str, Any], shape: tuple[int, ...] | None = None
    ) -> None:
        """The internal node `op` with these operands takes the place of all of them. shape: of its result, where that is then
        reshaped."""
        out = self.node.outputs[0]
        new = make(op, inputs, {**attrs, **self.attributes()}, [(shape or shape_of(out), out.dtype)], like=self.source)
        result = before(self.node, new)
        for bound in reversed(self.chain):
            absorb(new, bound)
        if shape is not None:
            result = before(self.node, make("reshape", [result], {}, [(shape_of(out), out.dtype)], like=self.source))
        replace(out, result)
        for dead in (self.node, *self.chain, self.source):
            if not any(v.uses() or v.is_graph_output() for v in dead.outputs):
                drop(dead)


def target_of(node: ir.Node) -> Target | None:
    """What a "quantize" to bytes quantises, through Relu and Clip that nothing else reads; None where nothing makes it."""
    grid = grid_of(node)
    low, high, user = grid.low, grid.high, node
    chain: list[ir.Node] = []
    while True:
        value = user.inputs[0]
        front = producer(value)
        if front is None or value is None or grid.dtype not in ("i8", "u8"):
            return None
        if not is_op(front, "relu", "clip") or dtype_of(value) != "f32" or not only_use(value, user):
            return Target(node, front, tuple(chain), grid, low, high)
        bounds = (0.0, np.inf) if is_op(front, "relu") else (get(front, "act_alpha"), get(front, "act_beta"))
        low, high = (int(v) for v in np.clip(grid.integers(bounds), low, high))  # the inner bounds within the outer
        chain.append(front)
        user = front
