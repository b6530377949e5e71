"""An ONNX graph put down node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]


class Nodes:
    """Nodes and constants; names are made up from the operators'. Values are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def put(self, op: str, *inputs: str | Array, name: str = "", **attributes: Any) -> str:
        """One more node; arrays among the inputs become constants. Returns the name of its output."""
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [i if isinstance(i, str) else self.constant(i) for i in inputs], [name], name, **attributes))
        return name

    def constant(self, array: Array) -> str:
        """float64, what folding gives, is rounded to float32 here, once."""
        kept = np.ascontiguousarray(array, np.float32 if array.dtype == np.float64 else array.dtype).reshape(array.shape)
        self.constants.append(numpy_helper.from_array(kept, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def clip(self, x: str, low: float, high: float = np.inf) -> str:
        """x between two numbers."""
        above = [] if high == np.inf else [np.array(high)]
        return self.put("Clip", x, "" if low == -np.inf else np.array(low), *above)

    def linear(self, x: str, weight: Array, bias: Array, relu: bool = False) -> str:
        """x [N, k] @ weight [k, m] + bias [m]."""
        y = self.put("Gemm", x, weight, bias)
        return self.put("Relu", y) if relu else y

    def scaled(self, x: str, scale: Array, shift: Array) -> str:
        """x [N, k] * scale [k] + shift [k]: a BatchNormalization, with what clips it one step."""
        return self.put("BatchNormalization", x, scale, shift, np.zeros(len(scale)), np.ones(len(scale)), epsilon=0.0)

    def shaped(self, x: str, *shape: int) -> str:
        """x in another shape; -1 stands for the batch."""
        return self.put("Reshape", x, np.array(shape, np.int64))
