"""Weights and quantisation parameters that are no usable numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .case import Array, Case, Family
from .models import F, add, model, node, normal, one, raw, tensor

_of = Family("quantities")
NAN, INF = float("nan"), float("inf")
Content = Callable[[], onnx.ModelProto]


def _quantised(scale: Any, zero: Any = 0) -> Content:
    """x → QuantizeLinear → DequantizeLinear → y; zero: an int8 point, or a TensorProto."""

    def content() -> onnx.ModelProto:
        nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=0), node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=0)]
        constants: dict[str, Array] = {"s": np.asarray(scale, np.float32)}
        if not isinstance(zero, onnx.TensorProto):
            constants["z"] = np.asarray(zero, np.int8)
        made = model(nodes, [("x", F, (4,))], [("y", F, (4,))], constants)
        if isinstance(zero, onnx.TensorProto):
            made.graph.initializer.append(zero)
        return made

    return content


def _stored(scale: float) -> Content:
    """x + DequantizeLinear(int8 weights): the parameters meet constants, which may be folded."""

    def content() -> onnx.ModelProto:
        nodes = [node("DequantizeLinear", ["w", "s"], ["f"]), node("Add", ["x", "f"], ["y"])]
        constants: dict[str, Array] = {"w": np.arange(4, dtype=np.int8), "s": np.array(scale, np.float32)}
        return model(nodes, [("x", F, (4,))], [("y", F, (4,))], constants)

    return content


def _nan_in_conv() -> onnx.ModelProto:
    w = normal(4, 4, 3, 3)
    w[2, 1, 0, 0] = NAN
    return one("Conv", (1, 4, 6, 6), w, rank=4)


def _negative_variance() -> onnx.ModelProto:
    ones = np.ones(4, np.float32)
    return one("BatchNormalization", (1, 4, 6, 6), ones, ones, ones, -ones, rank=4)


def _cases() -> tuple[Case, ...]:
    e, int8 = _of.error, int(onnx.TensorProto.INT8)
    return (
        e("weight-nan", "A weight that is no number.", lambda: add(tensor(raw_data=raw(1, NAN, 3, 4)))),
        e("weight-nan-in-conv", "One weight of a Conv is no number.", _nan_in_conv),
        e("weight-nan-float-data", "A weight that is no number, in float_data.",
          lambda: add(tensor(float_data=[1, 2, NAN, 4]))),
        e("batch-norm-negative-variance", "A variance of -1, whose root is no number.", _negative_variance),
        e("quant-scale-0", "Quantisation with a scale of 0.", _quantised(0.0)),
        e("quant-scale-nan", "Quantisation with a scale that is no number.", _quantised(NAN)),
        e("quant-scale-infinite", "Quantisation with an infinite scale.", _quantised(INF)),
        e("quant-scale-negative", "Quantisation with a scale of -1.", _quantised(-1.0)),
        e("quant-scale-count", "Quantisation of 4 values with 3 scales.", _quantised([1.0, 1.0, 1.0], [0, 0, 0])),
        e("quant-zero-point-300", "A zero point of 300 in 8 bits.", _quantised(1.0, tensor((), int8, "z", int32_data=[300]))),
        e("dequant-scale-nan", "Stored integers whose scale is no number.", _stored(NAN)),
        e("dequant-scale-0", "Stored integers whose scale is 0.", _stored(0.0)),
    )


CASES = _cases()
