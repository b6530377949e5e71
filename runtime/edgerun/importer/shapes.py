"""Static shapes: symbolic input dimensions are bound, then onnx.shape_inference fills in the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx.shape_inference
import onnx_ir as ir

from edgerun.errors import ShapeError
from edgerun.ops.graph import get

_END_PADS = "end_pads"
"""Key of node.meta, see `_drop_windows`."""
_SMALL = 256
"""Elements up to which a constant's contents are shown to shape inference."""


def bind(model: ir.Model, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Give every graph input a static shape: from `shapes`, else batch (a symbolic first dimension) = 1, else
    ShapeError."""
    inputs = {v.name or "": v for v in model.graph.inputs}
    for given in shapes:
        if given not in inputs:
            raise ShapeError(
                f"{name}: a shape is given for '{given}', which is no input; inputs are {', '.join(map(repr, inputs))}"
            )
    known: dict[str, int] = {}
    for key, shape in shapes.items():
        _bind_given(inputs[key], tuple(shape), known, name)
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape) and _symbol(value.shape[0]) is not None:
            known.setdefault(_symbol(value.shape[0]) or "", 1) if _symbol(value.shape[0]) else None
    for key, value in inputs.items():
        if isinstance(value.type, ir.TensorType):
            _bind_rest(key, value, known, name)


def _symbol(dim: int | ir.SymbolicDim) -> str | None:
    """Name of a symbolic dimension ("" when it has none), None for a number."""
    if isinstance(dim, int):
        return None if dim >= 0 else ""
    return dim.value or ""


def _bind_given(value: ir.Value, shape: tuple[int, ...], known: dict[str, int], name: str) -> None:
    declared = value.shape
    if declared is not None:
        fits = len(declared) == len(shape) and all(
            _symbol(d) is not None or d == s for d, s in zip(declared, shape, strict=False)
        )
        if not fits:
            raise ShapeError(
                f"{name}: input '{value.name}': expected a shape that fits {declared}, found {list(shape)}"
            )
        for dim, size in zip(declared, shape, strict=True):
            symbol = _symbol(dim)
            if symbol and known.setdefault(symbol, size) != size:
                raise ShapeError(
                    f"{name}: input '{value.name}': dimension '{symbol}' is {known[symbol]} in another input, found {size}"
                )
    value.shape = ir.Shape(shape)


def _bind_rest(key: str, value: ir.Value, known: Mapping[str, int], name: str) -> None:
    hint = f"give it: shapes={{'{key}': (1, 3, 224, 224)}} or --shape {key}=1x3x224x224"
    if value.shape is None:
        raise ShapeError(f"{name}: input '{key}' has no shape; {hint}")
    dims: list[int] = []
    for position, dim in enumerate(value.shape):
        symbol = _symbol(dim)
        if symbol is None:
            dims.append(int(dim))  # type: ignore[arg-type]
        elif symbol in known:
            dims.append(known[symbol])
        elif position == 0:
            dims.append(1)
        else:
            raise ShapeError(
                f"{name}: input '{key}': dimension {position} ('{symbol or '?'}') of {value.shape} is not known; {hint}"
            )
    value.shape = ir.Shape(dims)


def infer(model: ir.Model, name: str) -> None:
    """Run onnx.shape_inference (again for every pool that it sizes wrongly) and store what it finds in the values. Raises
    ShapeError where shapes contradict each other."""
    _infer(model, name)
    while _drop_windows(model):
        _infer(model, name)


def _infer(model: ir.Model, name: str) -> None:
    proto = _skeleton(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise ShapeError(f"{name}: shapes do not fit: {' '.join(str(error).split())[:400]}") from error
    found = dict(_infos(inferred.graph))
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                info = found.get(value.name or "")
                if info is not None:
                    _store(value, info)


def _drop_windows(model: ir.Model) -> bool:
    """Pools with ceil_mode: a window that would begin in the padding at the end does not exist (said by the standard
    since opset 22, always done by runtimes). onnx.shape_inference counts it before, so the pools get their end pads for
    inference in `_skeleton`. One at a time, in order, as shapes behind it change. Returns whether inference has to be
    repeated."""
    if model.graph.opset_imports.get("", 0) >= 22:
        return False
    for graph in model.graphs():
        for node in graph:
            if node.op_type not in ("MaxPool", "AveragePool", "LpPool") or node.domain or _END_PADS in node.meta:
                continue
            x = node.inputs[0]
            if x is None or x.shape is None or not x.shape.is_static() or not get(node, "ceil_mode", 0):
                continue
            ends = _end_pads(node, x.shape.numpy()[2:])
            if ends is not None:
                node.meta[_END_PADS] = ends
                return True
    return False


def _end_pads(node: ir.Node, sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """End pads with which rounding down counts the windows that exist; None where none is to be dropped."""
    rank = len(sizes)
    kernel, strides = get(node, "kernel_shape"), get(node, "strides", (1,) * rank)
    pads, dilations = get(node, "pads", (0,) * 2 * rank), get(node, "dilations", (1,) * rank)
    if get(node, "auto_pad", "NOTSET") != "NOTSET" or len(kernel) != rank or len(pads) != 2 * rank:
        return None
    ends, dropped = [], False
    for n, k, s, d, begin, end in zip(sizes, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True):
        span = d * (k - 1) + 1
        windows = -(-(n + begin + end - span) // s) + 1
        if windows > 1 and (windows - 1) * s >= n + begin:
            windows, dropped = windows - 1, True
        ends.append(max((windows - 1) * s + span - n - begin, 0))
    return tuple(ends) if dropped else None


def _store(value: ir.Value, info: onnx.TypeProto) -> None:
    if not info.HasField("tensor_type"):
        value.type = ir.serde.deserialize_type_proto_for_type(info)
        return
    tensor = info.tensor_type
    if tensor.elem_type:
        value.type = ir.TensorType(ir.DataType(tensor.elem_type))
    if tensor.HasField("shape"):
        value.shape = ir.Shape(
            [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim]
        )


def _infos(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto]]:
    for info in (*graph.value_info, *graph.output):
        yield info.name, info.type
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _infos(attribute.g)


def _skeleton(model: ir.Model) -> onnx.ModelProto:
    """The graph without big constants and without declared intermediate and output shapes, which may still be
    symbolic."""
    graph = model.graph
    proto = onnx.GraphProto(name="g")
    constants = {
        v: None for g in model.graphs() for n in g for v in n.inputs if v is not None and v.const_value is not None
    }
    for g in model.graphs():
        constants.update({v: None for v in g.outputs if v.const_value is not None})
    for value in constants:
        tensor = value.const_value
        assert tensor is not None
        if tensor.size <= _SMALL:
            proto.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), value.name))
        else:
            proto.input.append(onnx.helper.make_tensor_value_info(value.name or "", tensor.dtype, list(tensor.shape)))
    for value in graph.inputs:
        info = onnx.ValueInfoProto(name=value.name or "")
        if value.type is not None:
            ir.serde.serialize_type_into(info.type, value.type)
        if isinstance(value.type, ir.TensorType) and value.shape is not None:
            info.type.CopyFrom(onnx.helper.make_tensor_type_proto(value.type.dtype, value.shape.numpy()))
        proto.input.append(info)
    proto.node.extend(_node(node) for node in graph)
    for value in graph.outputs:
        info = onnx.ValueInfoProto(name=value.name or "")
        if value.producer() is None and isinstance(value.type, ir.TensorType) and value.shape is not None:
            info.type.CopyFrom(onnx.helper.make_tensor_type_proto(value.type.dtype, value.shape.numpy()))
        elif value.type is not None:
            ir.serde.serialize_type_into(info.type, value.type)
        proto.output.append(info)
    opsets = [onnx.helper.make_opsetid(d, v) for d, v in graph.opset_imports.items()]
    return onnx.helper.make_model(proto, opset_imports=opsets)


def _node(node: ir.Node) -> onnx.NodeProto:
    proto = ir.serde.serialize_node(node)
    ends = node.meta.get(_END_PADS)
    if ends is None:
        return proto
    kept = [a for a in proto.attribute if a.name not in ("ceil_mode", "pads")]
    begins = tuple(get(node, "pads", (0,) * 2 * len(ends)))[: len(ends)]
    del proto.attribute[:]
    proto.attribute.extend([*kept, onnx.helper.make_attribute("pads", [*begins, *ends])])
    return proto


def unresolved(model: ir.Model) -> ir.Value | None:
    """First value whose shape or element type is still not known ahead of time."""
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                used = value.uses() or value.is_graph_output()
                if used and not (
                    isinstance(value.type, ir.TensorType) and value.shape is not None and value.shape.is_static()
                ):
                    return value
    return None
