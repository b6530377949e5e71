"""Small words over onnx-ir that operator files, importer and passes share.

Passes work on *internal* nodes: domain "edgerun", operator names equal to kernel stems ("conv", "relu", "add"),
attributes as the
kernels take them, every value with a static shape. ONNX nodes that no kernel serves stay as they are and become
fallback steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

DOMAIN = "edgerun"

PLAN_DTYPES: dict[ir.DataType, str] = {
    ir.DataType.FLOAT: "f32",
    ir.DataType.DOUBLE: "f64",
    ir.DataType.FLOAT16: "f16",
    ir.DataType.BFLOAT16: "bf16",
    ir.DataType.INT8: "i8",
    ir.DataType.UINT8: "u8",
    ir.DataType.INT16: "i16",
    ir.DataType.UINT16: "u16",
    ir.DataType.INT32: "i32",
    ir.DataType.UINT32: "u32",
    ir.DataType.INT64: "i64",
    ir.DataType.UINT64: "u64",
    ir.DataType.BOOL: "b8",
}
"""ONNX element type → plan dtype name; what is missing here has no kernels."""

_IR_DTYPES = {name: dtype for dtype, name in PLAN_DTYPES.items()}


class Unsupported(Exception):
    """No kernel of ours serves this form of the operator. `reason` says why; the node becomes a fallback step."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Static shape of a value. Raises Unsupported where it is not known."""
    shape = value.shape
    if shape is None:
        raise Unsupported(f"the rank of '{value.name}' is not known ahead of time")
    dims = shape.dims
    if not all(isinstance(d, int) for d in dims):
        raise Unsupported(f"the shape of '{value.name}' is not known ahead of time: {shape}")
    return tuple(dims)  # type: ignore[arg-type]


def dtype_of(value: ir.Value) -> str:
    """Plan dtype name ("f32") of a value. Raises Unsupported for types without kernels (strings, sequences,
    float8, int4)."""
    if not isinstance(value.type, ir.TensorType):
        raise Unsupported(f"'{value.name}' is not a plain tensor: {value.type}")
    name = PLAN_DTYPES.get(value.type.dtype)
    if name is None:
        raise Unsupported(f"'{value.name}' has element type {value.type.dtype}")
    return name


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """The value's contents if it is constant, else None."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def elements(shape: Iterable[int]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def constant(array: np.ndarray, name: str | None = None) -> ir.Value:
    """A constant value that belongs to no graph (internal graphs are never serialised)."""
    array = np.ascontiguousarray(array) if array.ndim else array
    return ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        const_value=ir.Tensor(array),
    )


def scalar_of(value: ir.Value | None) -> float | None:
    """The number held by a constant with one element, else None."""
    array = array_of(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype != object else None


def attribute(name: str, value: Any) -> ir.Attr:
    """An onnx-ir attribute from an int, float, string or a sequence of ints or of floats."""
    if isinstance(value, (bool, int, np.integer)):
        return ir.AttrInt64(name, int(value))
    if isinstance(value, (float, np.floating)):
        return ir.AttrFloat32(name, float(value))
    if isinstance(value, str):
        return ir.AttrString(name, value)
    items = tuple(value)
    if items and isinstance(items[0], (float, np.floating)):
        return ir.AttrFloat32s(name, [float(v) for v in items])
    return ir.AttrInt64s(name, [int(v) for v in items])


def get(node: ir.Node, name: str, default: Any = None) -> Any:
    """Attribute value (int, float, str, tuple, tensor or graph), or the default when it is absent."""
    attr = node.attributes.get(name)
    return default if attr is None else attr.value


def attributes(node: ir.Node) -> dict[str, Any]:
    """All attributes as plain values."""
    return {name: attr.value for name, attr in node.attributes.items()}


def is_op(node: ir.Node | None, *names: str) -> bool:
    """Whether the node is an internal node with one of these names."""
    return node is not None and node.domain == DOMAIN and node.op_type in names


def producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index`, or None when it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def origin(node: ir.Node) -> tuple[str, str]:
    """(node name, operator) of the ONNX node(s) that an internal node stands for."""
    return node.meta.get("node", node.name or ""), node.meta.get("op", node.op_type)


def make(
    op: str,
    inputs: Sequence[ir.Value | None],
    attrs: Mapping[str, Any],
    outputs: Sequence[tuple[tuple[int, ...], Any]],
    like: ir.Node | None = None,
) -> ir.Node:
    """A new internal node; `outputs` lists (shape, dtype), dtype a plan name or an onnx-ir data type."""
    values = [
        ir.Value(shape=ir.Shape(shape), type=ir.TensorType(_IR_DTYPES[dtype] if isinstance(dtype, str) else dtype))
        for shape, dtype in outputs
    ]
    node = ir.Node(DOMAIN, op, inputs, [attribute(k, v) for k, v in attrs.items()], outputs=values)
    if like is not None:
        node.meta["node"], node.meta["op"] = origin(like)
        node.meta["part"] = like.meta.get("part")
        node.name = None
    return node


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    result = [0] * len(perm)
    for position, axis in enumerate(perm):
        result[axis] = position
    return tuple(result)


def permuted(shape: Sequence[int], perm: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[p] for p in perm)


def channels_last(rank: int) -> tuple[int, ...]:
    """Permutation N C spatial… → N spatial… C."""
    return (0, *range(2, rank), 1)


def channels_first(rank: int) -> tuple[int, ...]:
    """Permutation N spatial… C → N C spatial…."""
    return (0, rank - 1, *range(1, rank - 1))


def sweep(graph: ir.Graph) -> int:
    """Remove nodes whose results nobody uses, subgraphs included. Returns how many."""
    count = 0
    for node in reversed(graph):
        if not any(v.uses() or v.is_graph_output() for v in node.outputs):
            graph.remove(node, safe=True)
            count += 1
            continue
        for attr in node.attributes.values():
            if attr.type == ir.AttributeType.GRAPH:
                count += sweep(attr.value)
    return count
