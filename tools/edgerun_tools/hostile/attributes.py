"""Attributes that an operator does not allow: divisors of 0, sizes beyond all bounds, axes that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .case import Case, Family
from .models import I64, F, graph, model, node, normal, one

_of = Family("attributes")
Content = Callable[[], onnx.ModelProto]


def _conv(**attributes: Any) -> Content:
    """Conv of x [1, 4, 6, 6] with weights [4, 4, 3, 3]."""
    return lambda: one("Conv", (1, 4, 6, 6), normal(4, 4, 3, 3), rank=4, **attributes)


def _transposed(**attributes: Any) -> Content:
    return lambda: one("ConvTranspose", (1, 4, 6, 6), normal(4, 4, 3, 3), rank=4, **attributes)


def _image(op: str, **attributes: Any) -> Content:
    """An operator without weights on x [1, 4, 6, 6]."""
    return lambda: one(op, (1, 4, 6, 6), rank=4, **attributes)


def _rows(op: str, rank: int = 2, **attributes: Any) -> Content:
    """An operator without weights on x [2, 3]."""
    return lambda: one(op, (2, 3), rank=rank, **attributes)


def _layer_norm(**attributes: Any) -> Content:
    return lambda: one("LayerNormalization", (2, 3), np.ones(3, np.float32), rank=2, **attributes)


def _lstm() -> onnx.ModelProto:
    """hidden_size 5, but recurrent weights for 3."""
    made = model([node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5)], [("x", F, (2, 1, 3))], [("y", F, ("a", 1, 1, "b"))],
                 {"w": normal(1, 20, 3), "r": normal(1, 12, 3)})
    return made


def _gru() -> onnx.ModelProto:
    return model([node("GRU", ["x", "w", "r"], ["y"], hidden_size=0)], [("x", F, (2, 1, 3))], [("y", F, ("a", 1, 1, "b"))],
                 {"w": normal(1, 9, 3), "r": normal(1, 9, 3)})


def _scan(count: int) -> Content:
    body = graph([node("Relu", ["e"], ["r"])], [("e", F, (3,))], [("r", F, (3,))])
    return lambda: model([node("Scan", ["x"], ["y"], body=body, num_scan_inputs=count)], [("x", F, (2, 3))],
                         [("y", F, ("a", "b"))])


def _encoder() -> onnx.ModelProto:
    return one("OneHotEncoder", (4,), rank=2, domain="ai.onnx.ml", cats_int64s=[1, 2], cats_strings=["a", "b"])


def _concat() -> onnx.ModelProto:
    return one("Concat", (2, 3), normal(2, 3), rank=2, axis=9)


def _cases() -> tuple[Case, ...]:
    e = _of.error
    return (
        e("conv-stride-0", "Conv with a stride of 0.", _conv(strides=[0, 1])),
        e("conv-stride-negative", "Conv with a stride of -1.", _conv(strides=[-1, 1])),
        e("conv-strides-missing-one", "Conv over two dimensions with one stride.", _conv(strides=[1])),
        e("conv-group-0", "Conv with 0 groups.", _conv(group=0)),
        e("conv-group-negative", "Conv with -2 groups.", _conv(group=-2)),
        e("conv-group-3-of-4", "Conv with 4 channels in 3 groups.", _conv(group=3)),
        e("conv-kernel-shape", "Conv that claims 5x5 for weights of 3x3.", _conv(kernel_shape=[5, 5])),
        e("conv-pads-2-40", "Conv with 2^40 rows of padding.", _conv(pads=[1 << 40, 0, 0, 0])),
        e("conv-pads-2-62", "Conv whose two pads add up to more than 64 bits hold.", _conv(pads=[1 << 62, 0, 1 << 62, 0])),
        e("conv-pads-negative", "Conv with -100 rows of padding.", _conv(pads=[-100, 0, 0, 0])),
        e("conv-dilation-0", "Conv with a dilation of 0.", _conv(dilations=[0, 1])),
        e("conv-dilation-2-62", "Conv with a dilation of 2^62.", _conv(dilations=[1 << 62, 1])),
        e("conv-auto-pad", "Conv with a way of padding that does not exist.", _conv(auto_pad="SAME_SIDEWAYS")),
        e("conv-weight-rank", "Conv with weights of two dimensions.",
          lambda: one("Conv", (1, 4, 6, 6), normal(4, 4), rank=4)),
        e("conv-bias-size", "Conv with 4 channels and 3 biases.",
          lambda: one("Conv", (1, 4, 6, 6), normal(4, 4, 3, 3), normal(3), rank=4)),
        e("conv-transpose-group-0", "ConvTranspose with 0 groups.", _transposed(group=0)),
        e("conv-transpose-stride-0", "ConvTranspose with a stride of 0.", _transposed(strides=[0, 0])),
        e("conv-transpose-output-shape", "ConvTranspose that claims an output of -5.", _transposed(output_shape=[-5, 6])),
        e("max-pool-kernel-0", "MaxPool over 0 elements.", _image("MaxPool", kernel_shape=[0, 0])),
        e("max-pool-kernel-negative", "MaxPool over -3 elements.", _image("MaxPool", kernel_shape=[-3, 3])),
        e("max-pool-dilation-0", "MaxPool with a dilation of 0.", _image("MaxPool", kernel_shape=[2, 2], dilations=[0, 0])),
        e("average-pool-stride-0", "AveragePool with a stride of 0.",
          _image("AveragePool", kernel_shape=[2, 2], strides=[0, 2])),
        e("average-pool-no-kernel", "AveragePool without its kernel shape.", _image("AveragePool")),
        e("depth-to-space-0", "DepthToSpace with blocks of 0.", _image("DepthToSpace", blocksize=0)),
        e("space-to-depth-0", "SpaceToDepth with blocks of 0.", _image("SpaceToDepth", blocksize=0)),
        e("lrn-size-0", "Normalisation over 0 channels.", _image("LRN", size=0)),
        e("layer-norm-axis", "LayerNormalization along axis 7 of 2.", _layer_norm(axis=7)),
        e("layer-norm-epsilon", "LayerNormalization with an epsilon that is no number.", _layer_norm(epsilon=float("nan"))),
        e("batch-norm-sizes", "BatchNormalization with 3 means for 4 channels.",
          lambda: one("BatchNormalization", (1, 4, 6, 6), np.ones(4, np.float32), normal(4), normal(3),
                      np.ones(4, np.float32), rank=4)),
        e("transpose-not-permutation", "Transpose that uses axis 0 twice.", _rows("Transpose", perm=[0, 0])),
        e("transpose-axis-out-of-range", "Transpose that uses axis 5 of 2.", _rows("Transpose", perm=[0, 5])),
        e("concat-axis", "Concat along axis 9 of 2.", _concat),
        e("softmax-axis", "Softmax along axis 99 of 2.", _rows("Softmax", axis=99)),
        e("flatten-axis", "Flatten at axis -2^62.", _rows("Flatten", axis=-(1 << 62))),
        e("arg-max-axis", "ArgMax along axis 2^40.", lambda: one("ArgMax", (2, 3), rank=2, dtypes=(F, I64), axis=1 << 40)),
        e("cast-to-999", "Cast to a type that does not exist.", _rows("Cast", to=999)),
        e("lstm-sizes", "LSTM whose weights are not of its hidden size.", _lstm),
        e("gru-hidden-0", "GRU with a hidden size of 0.", _gru),
        e("scan-inputs-2-40", "Scan that claims 2^40 scan inputs.", _scan(1 << 40)),
        e("scan-inputs-negative", "Scan that claims -1 scan inputs.", _scan(-1)),
        e("one-hot-encoder-two-kinds", "OneHotEncoder for integers and strings at once.", _encoder),
        e("einsum-arrows", "A malformed Einsum equation: two arrows, and commas without operands.",
          _rows("Einsum", equation="...->->i,,")),
        e("einsum-undefined", "Einsum whose result has a letter that no operand has.", _rows("Einsum", equation="ij->iz")),
        e("einsum-empty", "Einsum with an empty equation for a matrix.", _rows("Einsum", equation="")),
        e("einsum-operands", "Einsum for two operands, given one.", _rows("Einsum", equation="ij,jk->ik")),
        e("constant-two-values", "A Constant with two values.",
          lambda: model([node("Constant", [], ["k"], value_float=1.0, value_int=1), node("Add", ["x", "k"], ["y"])],
                        [("x", F, (4,))], [("y", F, (4,))])),
        e("attribute-graph-empty", "If whose branch is an empty graph.",
          lambda: one("If", None, np.array(True), rank=1, then_branch=helper.make_graph([], "t", [], []),
                      else_branch=helper.make_graph([], "e", [], []))),
    )


CASES = _cases()
