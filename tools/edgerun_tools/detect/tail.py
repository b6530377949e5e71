"""A tail (or any small ONNX network of these operators) as differentiable PyTorch: what a white-box attacker computes gradients of.

Equality with edgerun's own engine is what `tests/detect/test_tail.py` shows. Needs the extra "train".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from edgerun.errors import UnsupportedOpError

Attributes = dict[str, Any]


class TorchTail:
    """`tail(x)`: x float32 [N, …] as it travels -> {output name: float32 [N, classes]}; gradients flow to x, weights are constants."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """UnsupportedOpError for operators that are not in `_OPERATORS`, naming them."""
        graph = model.graph
        unknown = sorted({n.op_type for n in graph.node} - set(_OPERATORS))
        if unknown:
            raise UnsupportedOpError(f"attack on a tail: expected operators among {', '.join(sorted(_OPERATORS))}; found "
                                           f"{', '.join(unknown)}; add them to edgerun_tools.detect.tail")
        self._weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        self._nodes = [(n.op_type, list(n.input), n.output[0], {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute})
                       for n in graph.node]
        self.input = next(i.name for i in graph.input if i.name not in self._weights)
        self.outputs = tuple(o.name for o in graph.output)

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        held: dict[str, Tensor | None] = {**self._weights, self.input: x, "": None}
        for op, inputs, output, attributes in self._nodes:
            held[output] = _OPERATORS[op]([held[i] for i in inputs], attributes)
        return {o: held[o] for o in self.outputs}  # type: ignore[misc]

    def logits(self, x: Tensor) -> Tensor:
        """[N, classes] of the last output, the one that answers."""
        return self(x)[self.outputs[-1]]

    def predict(self, x: np.ndarray, batch: int = 250) -> np.ndarray:
        """Classes int64 [N] of features float32 [N, …]."""
        with torch.no_grad():
            parts = [self.logits(torch.from_numpy(x[i:i + batch])).argmax(1) for i in range(0, len(x), batch)]
        return torch.cat([torch.zeros(0, dtype=torch.int64), *parts]).numpy()


def _padding(x: Tensor, a: Attributes, value: float) -> Tensor:
    """x padded as `pads` says (ONNX: all begins, then all ends)."""
    pads = a.get("pads", [0] * 2 * (x.ndim - 2))
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedOpError(f"attack on a tail: expected explicit pads; found auto_pad {a['auto_pad'].decode()}")
    half = len(pads) // 2
    order = [p for d in reversed(range(half)) for p in (pads[d], pads[half + d])]
    return F.pad(x, order, value=value) if any(order) else x


def _conv(v: Sequence[Any], a: Attributes) -> Tensor:
    x = _padding(v[0], a, 0.0)
    return F.conv2d(x, v[1], v[2] if len(v) > 2 else None, tuple(a.get("strides", (1, 1))), 0, tuple(a.get("dilations", (1, 1))),
                    a.get("group", 1))


def _max_pool(v: Sequence[Any], a: Attributes) -> Tensor:
    return F.max_pool2d(_padding(v[0], a, -torch.inf), tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1))),
                        0, tuple(a.get("dilations", (1, 1))), bool(a.get("ceil_mode", 0)))


def _gemm(v: Sequence[Any], a: Attributes) -> Tensor:
    x, w = (v[0].T if a.get("transA", 0) else v[0]), (v[1].T if a.get("transB", 0) else v[1])
    out = a.get("alpha", 1.0) * (x @ w)
    return out + a.get("beta", 1.0) * v[2] if len(v) > 2 else out


_OPERATORS: dict[str, Callable[[Sequence[Any], Attributes], Tensor]] = {
    "Add": lambda v, a: v[0] + v[1],
    "Conv": _conv,
    "Flatten": lambda v, a: v[0].flatten(a.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda v, a: v[0].mean((2, 3), keepdim=True),
    "Identity": lambda v, a: v[0],
    "MaxPool": _max_pool,
    "Relu": lambda v, a: F.relu(v[0]),
    "Sigmoid": lambda v, a: torch.sigmoid(v[0]),
    "Tanh": lambda v, a: torch.tanh(v[0]),
}
