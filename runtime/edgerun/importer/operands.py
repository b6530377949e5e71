"""Constant operands that make every value after them meaningless: a scale of 0 or NaN, a variance below 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgerun.errors import ModelFormatError
from edgerun.limits import short
from edgerun.ops.graph import array_of

_POSITIVE: dict[str, tuple[int, ...]] = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "Resize": (2,),
    "Upsample": (1,),
}
"""Operator → which operands are scales."""
_NOT_NEGATIVE: dict[str, tuple[int, ...]] = {"BatchNormalization": (4,)}
"""Operator → which operands are variances."""


def check_operands(node: ir.Node, name: str) -> None:
    """ModelFormatError where a constant scale is not a positive finite number, or a variance is negative."""
    if node.domain not in ("", "ai.onnx"):
        return
    for table, zero, what in ((_POSITIVE, False, "scale: expected finite numbers above 0"),
                              (_NOT_NEGATIVE, True, "variance: expected finite numbers of 0 or more")):
        for index in table.get(node.op_type, ()):
            array = array_of(node.inputs[index]) if index < len(node.inputs) else None
            if array is None or array.dtype.kind != "f":  # bfloat16 and float8 have a kind of their own
                continue
            wrong = ~(np.isfinite(array) & ((array > 0) | (zero & (array == 0))))
            if wrong.any():
                raise ModelFormatError(f"{name}: {node.op_type}, node '{short(node.name or '')}': {what}, found "
                                       f"{array[wrong].reshape(-1)[0]}")
