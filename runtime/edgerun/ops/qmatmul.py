"""Lowering of the internal "qmatmul": a[…,M,K] i8 or u8, b[K,N] constant or […,K,N], bias[N]? i32, factors[2,N]? i32."""

from __future__ import annotations

import onnx_ir as ir

from .graph import dtype_of, elements, operand, shape_of
from .qconv import levels
from .registry import Lowering, lowers


@lowers("qmatmul")
def lower(node: ir.Node, ctx: Lowering) -> None:
    a, y = node.inputs[0], node.outputs[0]
    assert a is not None
    operands = [ctx.use(operand(node, k)) for k in range(4)]
    macs = elements(shape_of(y)) * shape_of(a)[-1]
    ctx.step(f"qmatmul_{dtype_of(a)}", operands, [ctx.use(y)], levels(node, "a_zero", "b_zero"), macs)
