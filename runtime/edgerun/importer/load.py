"""The importer's front door: source → Graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from edgerun.errors import ModelFormatError
from edgerun.limits import Clock, Limits

from .allowance import Allowance
from .read import Checked, read
from .resolve import CONTROL_FLOW, resolve
from .shapes import bind, check_declared
from .sizing import check_room
from .tensors import extent_bytes

MAX_FOLD_BYTES = 64 << 20


@dataclass(frozen=True)
class InputPort:
    """A model input: `onnx_shape` as declared (symbols as strings), `shape` as bound."""

    name: str
    onnx_shape: tuple[int | str | None, ...]


@dataclass
class Graph:
    """A checked model whose values have static shapes, unless `dynamic` says why they cannot have.

    `model` is consumed by the passes (they rewrite it in place); `proto` is the model as read, functions written out, and stays as it is.
    `outputs` are the model's output names in order and stay aligned with `model.graph.outputs`. `budget`: bytes that the
    plan's constants and intermediate results may take.
    """

    model: ir.Model
    proto: onnx.ModelProto
    name: str
    inputs: tuple[InputPort, ...]
    outputs: tuple[str, ...]
    output_shapes: tuple[tuple[int | str | None, ...], ...]
    metadata: dict[str, str] = field(default_factory=dict)
    dynamic: str = ""
    budget: int = Limits().budget(0)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.model.graph.opset_imports.get("", 0)


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | Checked,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    max_fold_bytes: int = MAX_FOLD_BYTES,
    clock: Clock | None = None,
) -> Graph:
    """Read, check and make static.

    shapes: input name → shape, for inputs with symbolic dimensions; a symbolic first dimension (batch) is 1 without it.
    max_fold_bytes: results of constant folding larger than this are left to be computed at run time.
    clock: DeadlineExceeded is raised when its time is over.
    A `Checked` model (from `read`) is not checked again. Raises ModelNotFoundError, ModelFormatError,
    UnsupportedOpError, ShapeError, LimitError.
    """
    checked = source if isinstance(source, Checked) else read(source)
    name, proto = checked.name, checked.proto
    try:
        model = ir.from_proto(proto)
        if model.functions:
            model = common.InlinePass()(model).model
            proto = ir.to_proto(model)
    except Exception as error:  # onnx-ir raises many types for malformed protos that the checker lets pass
        raise ModelFormatError(f"{name}: cannot be read: {error}") from error
    _detach_constants(model)
    graph = model.graph
    inputs = tuple(InputPort(v.name or "", _declared(v)) for v in graph.inputs)
    outputs, output_shapes = tuple(v.name or "" for v in graph.outputs), tuple(_declared(v) for v in graph.outputs)
    declared = [(v.dtype, None if v.shape is None else _declared(v)) for v in graph.outputs]
    fixed = all(isinstance(d, int) and d >= 0 for port in inputs for d in port.onnx_shape)
    bind(model, shapes or {}, name)
    for value in model.graph.inputs:
        if value.shape is not None and isinstance(value.type, ir.TensorType):
            need = extent_bytes(int(value.type.dtype), value.shape.numpy())
            check_room(need, checked.budget, f"{name}: input '{value.name}' of shape {value.shape}", checked.budget)
    allowance = Allowance(name, checked.budget, max_fold_bytes, clock or Clock(checked.limits.seconds))
    dynamic = resolve(model, name, allowance)
    for value, (dtype, shape) in zip(graph.outputs, declared, strict=True):
        check_declared(value, dtype, shape, name, fixed)
    return Graph(
        model, proto, name, inputs, outputs, output_shapes, {p.key: p.value for p in proto.metadata_props}, dynamic,
        checked.budget,
    )


def _declared(value: ir.Value) -> tuple[int | str | None, ...]:
    return () if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)


def _detach_constants(model: ir.Model) -> None:
    """Initializers become free constant values with unique names; those listed as inputs too (old files) leave the
    inputs."""
    seen: set[str] = set()
    for graph in _run_graphs(model.graph):
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


def _run_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """The graph and the bodies that we run ourselves; those of other operators are onnx.reference's and stay whole."""
    yield graph
    for node in graph:
        if node.op_type in ("If", *CONTROL_FLOW) and node.domain in ("", "ai.onnx"):
            for attr in node.attributes.values():
                if attr.type == ir.AttributeType.GRAPH:
                    yield from _run_graphs(attr.value)


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
