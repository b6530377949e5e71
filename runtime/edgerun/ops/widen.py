"""float16 and bfloat16 are for storage: an operator that has no kernel for them is computed in float32 and rounded once.

One place for all operators: the node gets a twin whose half operands are cast to float32 (constants right here), the twin is
legalised, and its results are cast back. The pass `halves` then drops what only rounds between two such operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from .graph import Unsupported, array_of, constant, make, shape_of

HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
ROUNDING = "edgerun.rounding"
"""meta key of the casts that are put in here; the model did not ask for them."""

Found = tuple[list[ir.Node], list[ir.Value]]


def in_float32(node: ir.Node, legalise: Callable[[ir.Node], Found]) -> Found | None:
    """Internal nodes for a node with half operands; None where it has none, or no kernel for float32 either."""
    if not any(v is not None and v.dtype in HALVES for v in node.inputs):
        return None
    before: list[ir.Node] = []
    wide = {v: _widened(v, node, before) for v in node.inputs if v is not None and v.dtype in HALVES}
    outputs = [ir.Value(name=v.name, shape=v.shape, type=ir.TensorType(ir.DataType.FLOAT) if v.dtype in HALVES else v.type)
               for v in node.outputs]
    twin = ir.Node(node.domain, node.op_type, [v if v is None else wide.get(v, v) for v in node.inputs],
                   list(node.attributes.values()), outputs=outputs, name=node.name)
    try:
        nodes, values = legalise(twin)
    except Unsupported:
        detach(before)
        return None
    finally:
        detach([twin])
    after: list[ir.Node] = []
    results = [value if value.dtype == asked.dtype or asked.dtype not in HALVES else _cast(value, asked.dtype, node, after)
               for value, asked in zip(values, node.outputs, strict=False)]
    return [*before, *nodes, *after], results


def _widened(value: ir.Value, node: ir.Node, casts: list[ir.Node]) -> ir.Value:
    array = array_of(value)
    if array is not None:
        return constant(array.astype(np.float32), value.name)
    return _cast(value, ir.DataType.FLOAT, node, casts)


def _cast(value: ir.Value, dtype: ir.DataType | None, node: ir.Node, casts: list[ir.Node]) -> ir.Value:
    cast = make("cast", [value], {}, [(shape_of(value), dtype)], like=node)
    cast.meta[ROUNDING] = True
    casts.append(cast)
    return cast.outputs[0]


def detach(nodes: Iterable[ir.Node]) -> None:
    """Nodes that are given up leave their operands, which would go on counting them among their users."""
    for node in nodes:
        for k in range(len(node.inputs)):
            node.replace_input_with(k, None)
