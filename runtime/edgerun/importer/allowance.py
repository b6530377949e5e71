"""What importing may still use up: bytes for folded constants, and time."""

from __future__ import annotations

import onnx_ir as ir

from edgerun.limits import Clock, short

from .sizing import check_room
from .tensors import extent_bytes


class Allowance:
    """Bytes left of a model's budget while it is imported. each: the largest result that folding may make."""

    def __init__(self, name: str, budget: int, each: int, clock: Clock) -> None:
        self.name, self.budget, self.each, self.clock = name, budget, each, clock
        self.left = budget // 2  # the other half is for running

    def allows(self, need: float) -> bool:
        """Whether folding may make a result of this size now; what it may not is left to be computed at run time."""
        return need <= min(self.each, self.left)

    def take(self, made: int) -> None:
        self.left -= made

    def check(self, node: ir.Node) -> None:
        """LimitError for an output of known shape that exceeds the whole budget."""
        for value in node.outputs:
            if value.shape is not None and value.shape.is_static() and isinstance(value.type, ir.TensorType):
                need = extent_bytes(int(value.type.dtype), value.shape.numpy())
                if need > self.budget:
                    where = f"{self.name}: {node.op_type}, node '{short(node.name or '')}', result of shape {value.shape}"
                    check_room(need, self.budget, where, self.budget)
