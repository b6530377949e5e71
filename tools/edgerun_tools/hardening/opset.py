"""An opset that has what checks are made of, and shapes as far as ONNX's inference goes."""

from __future__ import annotations

import onnx
from onnx import helper

from edgerun.errors import ModelError

OPSET = 13
"""Lowest opset of a hardened model: ReduceSum takes its axes as an input, comparisons take every type."""
_RESIZE = 11
"""First opset whose Resize knows ways to map coordinates; before there was only "asymmetric"."""
_MOST_PASSES = 24

Dim = int | str | None


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy, with opset 13 where the model's is older. ModelError where ONNX's converter cannot."""
    before = opset_of(model)
    if before >= OPSET:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
    else:
        try:
            copy = onnx.version_converter.convert_version(model, OPSET)
        except Exception as e:  # the converter raises whatever its adapters raise
            raise ModelError(f"harden: expected opset {OPSET} or newer, or a model that ONNX's version converter can raise to it; "
                             f"found opset {before}, and the converter says: {e}; export the model anew") from e
        del copy.metadata_props[:]
        copy.metadata_props.extend(model.metadata_props)
        if before < _RESIZE:
            _resized_as_before(copy.graph)
    copy.ir_version = max(copy.ir_version, 7)
    return copy


def _resized_as_before(graph: onnx.GraphProto) -> None:
    """The converter of onnx 1.23 leaves out how Upsample and the first Resize map coordinates, and the default is another."""
    for node in graph.node:
        if node.op_type == "Resize" and not any(a.name == "coordinate_transformation_mode" for a in node.attribute):
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            if not any(a.name == "nearest_mode" for a in node.attribute):
                node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def inferred(model: onnx.ModelProto) -> tuple[dict[str, int], dict[str, tuple[Dim, ...]]]:
    """Element types and shapes. ONNX's inference does not propagate data here (small models can make it take all memory), so
    it stops where a shape is computed; the rank is then known by the length of the shape, and it goes on from there."""
    work = onnx.ModelProto()
    work.CopyFrom(model)
    for _ in range(_MOST_PASSES):
        try:
            graph = onnx.shape_inference.infer_shapes(work).graph
        except Exception as e:
            raise ModelError(f"harden: expected a model whose shapes ONNX can infer; it says: {e}") from e
        types, shapes = _found(graph)
        ranked = False
        for node in graph.node:
            length = shapes.get(node.input[1]) if node.op_type in ("Reshape", "Expand") and len(node.input) > 1 else None
            if length and isinstance(length[0], int) and node.output[0] not in shapes and types.get(node.input[0]):
                rank = max(length[0], len(shapes.get(node.input[0], ()))) if node.op_type == "Expand" else length[0]
                work.graph.value_info.append(helper.make_tensor_value_info(node.output[0], types[node.input[0]], [None] * rank))
                ranked = True
        if not ranked:
            break
    return types, shapes


def _found(graph: onnx.GraphProto) -> tuple[dict[str, int], dict[str, tuple[Dim, ...]]]:
    types, shapes = {}, {}
    for info in (*graph.value_info, *graph.input, *graph.output):
        tensor = info.type.tensor_type
        types[info.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[info.name] = tuple(_dim(d) for d in tensor.shape.dim)
    for tensor in graph.initializer:
        types[tensor.name], shapes[tensor.name] = tensor.data_type, tuple(tensor.dims)
    return types, shapes


def _dim(d: onnx.TensorShapeProto.Dimension) -> Dim:
    return d.dim_value if d.HasField("dim_value") else d.dim_param or None
