"""The importer's front door: source → Graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from edgerun.errors import ModelFormatError, ShapeError
from edgerun.ops.graph import sweep

from .fold import fold
from .read import all_nodes, read
from .shapes import bind, infer, unresolved

_ROUNDS = 8
MAX_FOLD_BYTES = 64 << 20


@dataclass(frozen=True)
class InputPort:
    """A model input: `onnx_shape` as declared (symbols as strings), `shape` as bound."""

    name: str
    onnx_shape: tuple[int | str | None, ...]


@dataclass
class Graph:
    """A checked model whose values have static shapes, unless `dynamic` says why they cannot have.

    `model` is consumed by the passes (they rewrite it in place); `proto` is the model as read and stays as it is.
    `outputs` are the model's output names in order and stay aligned with `model.graph.outputs`.
    """

    model: ir.Model
    proto: onnx.ModelProto
    name: str
    inputs: tuple[InputPort, ...]
    outputs: tuple[str, ...]
    output_shapes: tuple[tuple[int | str | None, ...], ...]
    metadata: dict[str, str] = field(default_factory=dict)
    dynamic: str = ""

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.model.graph.opset_imports.get("", 0)


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    max_fold_bytes: int = MAX_FOLD_BYTES,
) -> Graph:
    """Read, check and make static.

    shapes: input name → shape, for inputs with symbolic dimensions; a symbolic first dimension (batch) is 1 without it.
    max_fold_bytes: results of constant folding larger than this are left to be computed at run time.
    Raises ModelNotFoundError, ModelFormatError, UnsupportedOpError, ShapeError.
    """
    proto, name = read(source)
    proto = _explicit_conditions(proto)
    try:
        model = ir.from_proto(proto)
        if model.functions:
            model = common.InlinePass()(model).model
    except Exception as error:  # onnx-ir raises many types for malformed protos that the checker lets pass
        raise ModelFormatError(f"{name}: cannot be read: {error}") from error
    _detach_constants(model)
    graph = model.graph
    inputs = tuple(InputPort(v.name or "", _declared(v)) for v in graph.inputs)
    outputs, output_shapes = tuple(v.name or "" for v in graph.outputs), tuple(_declared(v) for v in graph.outputs)
    bind(model, shapes or {}, name)
    dynamic = _make_static(model, name, max_fold_bytes)
    return Graph(
        model, proto, name, inputs, outputs, output_shapes, {p.key: p.value for p in proto.metadata_props}, dynamic
    )


def _explicit_conditions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A Loop without condition runs to its trip count; onnx.reference takes the missing input for false. So give it a
    true one, in a copy of the model if there is any such Loop."""
    if not any(_endless(node) for node in all_nodes(proto.graph)):
        return proto
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    true = "edgerun_true"
    for node in all_nodes(changed.graph):
        if _endless(node):
            node.input[1] = true
    changed.graph.initializer.append(onnx.helper.make_tensor(true, onnx.TensorProto.BOOL, [], [True]))
    return changed


def _endless(node: onnx.NodeProto) -> bool:
    return node.op_type == "Loop" and node.domain in ("", "ai.onnx") and len(node.input) > 1 and not node.input[1]


def _declared(value: ir.Value) -> tuple[int | str | None, ...]:
    return () if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)


def _detach_constants(model: ir.Model) -> None:
    """Initializers become free constant values with unique names; those listed as inputs too (old files) leave the
    inputs."""
    seen: set[str] = set()
    for graph in model.graphs():
        owned = set(graph.initializers.values())
        for index in reversed(range(len(graph.inputs))):
            if graph.inputs[index] in owned:
                graph.inputs.pop(index)
        for value in list(graph.initializers.values()):
            tensor = value.const_value
            graph.initializers.pop(value.name)
            if tensor is not None and not isinstance(tensor, ir.StringTensor):
                value.const_value = ir.Tensor(np.asarray(tensor.numpy()), tensor.dtype)
                value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
            _unique(value, seen)
        for value in [*graph.inputs, *(v for node in graph for v in node.outputs)]:
            _unique(value, seen)


def _unique(value: ir.Value, seen: set[str]) -> None:
    """Branches of an If may use the same name twice; shape inference results are matched by name, so make names
    differ."""
    if not value.name:
        return
    name, k = value.name, 0
    while name in seen:
        name, k = f"{value.name}__{k}", k + 1
    if name != value.name:
        value.name = name
    seen.add(name)


def _make_static(model: ir.Model, name: str, max_fold_bytes: int) -> str:
    """Alternate inference and folding until nothing changes. Returns "" or the reason why shapes stay unknown."""
    for _ in range(_ROUNDS):
        sweep(model.graph)
        infer(model, name)
        changed = fold(model, max_fold_bytes)
        value = unresolved(model)
        if value is None or not changed:
            break
    sweep(model.graph)
    value = unresolved(model)
    if value is None:
        return ""
    node = value.producer()
    if any(
        isinstance(v.type, ir.TensorType)
        and not ((v.shape and v.shape.is_static()) or (v.shape is not None and not len(v.shape)))
        for v in model.graph.inputs
    ):
        raise ShapeError(f"{name}: input shapes are not static")
    op = f"{node.op_type} '{node.name}'" if node is not None else "an input"
    return f"the shape or type of '{value.name}' ({op}) depends on data"
