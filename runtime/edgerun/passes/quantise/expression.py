"""Float values that are functions of one byte: what tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgerun.ops.graph import DOMAIN, array_of, get, producer

from .functions import FUNCTIONS, evaluate
from .grid import Grid, on_grid

_MOST = 64
"""Operators that one table may stand for."""


@dataclass
class Expression:
    """What a float value is made of: one quantised tensor, constants of one element, and elementwise operators. Made by `read`."""

    leaf: tuple[ir.Value, Grid] | None = None
    order: list[ir.Node] = field(default_factory=list)
    known: dict[ir.Value, np.ndarray] = field(default_factory=dict)

    def read(self, value: ir.Value | None, depth: int = 0) -> bool:
        """Whether the value is such an expression; collects its operators in order."""
        if value is None or depth > _MOST:
            return False
        array, node = array_of(value), producer(value)
        if value in self.known or any(value is n.outputs[0] for n in self.order):
            return True
        if array is not None:
            if array.size != 1 or array.dtype.kind not in "fb":
                return False
            self.known[value] = array.reshape(1).astype(np.float64 if array.dtype.kind == "f" else np.bool_)
            return True
        found = on_grid(value)
        if found is not None:
            if self.leaf is not None and (self.leaf[0] is not found[0] or self.leaf[1] != found[1]):
                return False
            self.leaf = found
            self.known[value] = found[1].real(_bytes(found[1])).astype(np.float64)
            return True
        if node is None or node.domain != DOMAIN or node.op_type not in FUNCTIONS or get(node, "activation", 0):
            return False
        if len(self.order) >= _MOST or not all(self.read(v, depth + 1) for v in node.inputs):
            return False
        self.order.append(node)
        return True

    def values(self, result: ir.Value) -> np.ndarray:
        """float64 [256]: the expression for every byte."""
        for node in self.order:
            self.known[node.outputs[0]] = evaluate(node, [self.known[v] for v in node.inputs if v is not None])
        return np.broadcast_to(self.known[result], (256,)).astype(np.float64)


def _bytes(grid: Grid) -> np.ndarray:
    """The integers that the bytes 0 … 255 stand for."""
    raw = np.arange(256, dtype=np.uint8)
    return raw.view(np.int8) if grid.dtype == "i8" else raw
