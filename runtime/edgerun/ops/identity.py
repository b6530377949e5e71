"""Identity, and Dropout, which is the identity outside training."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .dtypes import bits
from .graph import Unsupported, constant, get, scalar_of, shape_of
from .registry import Legal, legalises


@legalises("Identity")
def identity(legal: Legal) -> ir.Value:
    x = legal.required(0)
    bits(x)
    return x


@legalises("Dropout")
def dropout(legal: Legal) -> list[ir.Value]:
    x, node = legal.required(0), legal.node
    bits(x)
    training = legal.input(2)
    if (training is not None and scalar_of(training) != 0) or get(node, "is_test", 1) == 0:
        raise Unsupported("training mode")
    if len(node.outputs) == 1:
        return [x]
    dtype = node.outputs[1].dtype or ir.DataType.BOOL
    return [x, constant(np.ones(shape_of(x), dtype.numpy())) if legal.output_used(1) else x]
