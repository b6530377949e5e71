"""Static shapes: symbolic input dimensions are bound, then onnx.shape_inference tells node by node what comes out.

Node by node, because constants can then be folded on the way (so that one pass is enough), errors name the node, and no
operand larger than `SMALL` is ever shown to an inference function: told to propagate data through a whole graph, onnx
keeps every element of every shape-like result, of which a small file can make very many.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.defs
import onnx.shape_inference
import onnx_ir as ir
from onnx.numpy_helper import from_array

from edgerun.errors import ShapeError
from edgerun.limits import short
from edgerun.ops.compress import kept
from edgerun.ops.graph import get

from .single import operands, single
from .sizing import SMALL

_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})



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


def infer(node: ir.Node, opsets: Mapping[str, int], ir_version: int, name: str) -> None:
    """Store the types and shapes of a node's outputs as far as they can be told. Raises ShapeError where its operands do
    not fit."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not onnx.defs.has(node.op_type, opsets.get(domain, 0), domain):
        return
    _check_axis(node, name)
    schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    values = {v.name or "": v for v in operands(node)}
    types = {key: type_of(v) for key, v in values.items()}
    if any(t is None for t in types.values()):
        return
    data = {key: from_array(v.const_value.numpy(), key) for key, v in values.items()
            if v.const_value is not None and v.const_value.size <= SMALL and not isinstance(v.const_value, ir.StringTensor)}
    try:
        proto = _node(node)
        found = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in opsets.items()],  # type: ignore[arg-type]
            ir_version=ir_version)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises InferenceError, ValidationError and several of Python's own
        text = " ".join(str(error).split())[:300]
        raise ShapeError(f"{name}: {node.op_type}, node '{short(node.name or '')}': shapes do not fit: {text}") from error
    if (schema.has_function or schema.has_context_dependent_function) and not _shaped(found):  # LessOrEqual-12: its type only
        found = {**found, **_by_body(node, dict(opsets), types, data)}
    for output in node.outputs:
        info = found.get(output.name or "")
        if info is not None:
            _store(output, info)
            _check_size(node, output, name)
    known = kept(node) if node.op_type == "Compress" and not domain else None
    if known is not None:  # onnx infers its rank only
        positions, shape, axis = known
        axis %= len(shape)
        node.outputs[0].shape = ir.Shape((*shape[:axis], len(positions), *shape[axis + 1 :]))


def _check_size(node: ir.Node, output: ir.Value, name: str) -> None:
    """ShapeError for a negative size, which onnx makes of a window larger than its padded input."""
    if output.shape is not None and any(isinstance(d, int) and d < 0 for d in output.shape):
        raise ShapeError(f"{name}: {node.op_type}, node '{short(node.name or '')}', result '{short(output.name or '')}': expected sizes "
                         f"of 0 and more, found {output.shape}: its window is larger than its input")


def _check_axis(node: ir.Node, name: str) -> None:
    """The axis of a normalisation, which onnx does not look at."""
    x = node.inputs[0] if node.inputs else None
    if node.op_type not in ("LayerNormalization", "RMSNormalization") or x is None or x.shape is None:
        return
    axis, rank = get(node, "axis", -1), len(x.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"{name}: {node.op_type}, node '{short(node.name or '')}': axis: expected {-rank} to {rank - 1}, "
                         f"found {axis}")


def check_declared(value: ir.Value, dtype: ir.DataType | None, shape: tuple[int | str | None, ...] | None, name: str,
                   fixed: bool) -> None:
    """ShapeError where an output is not what the model declares. fixed: the model declares the shapes of its inputs, so a
    declared size is no leftover of another batch."""
    if not isinstance(value.type, ir.TensorType):
        return
    if dtype is not None and dtype != value.type.dtype:
        raise ShapeError(f"{name}: output '{short(value.name or '')}': the model declares {dtype}, its nodes make "
                         f"{value.type.dtype}")
    if not fixed or shape is None or value.shape is None:
        return
    found = tuple(d if isinstance(d, int) else None for d in value.shape)
    differ = any(isinstance(d, int) and f is not None and d != f for d, f in zip(shape, found, strict=False))
    if len(shape) != len(found) or differ:
        raise ShapeError(f"{name}: output '{short(value.name or '')}': the model declares shape {list(shape)}, its nodes make "
                         f"{list(found)}")


def type_of(value: ir.Value) -> onnx.TypeProto | None:
    """Type and shape of a value as onnx has them; None where the type is not known."""
    if value.type is None:
        return None
    if isinstance(value.type, ir.TensorType):
        dims = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
        return onnx.helper.make_tensor_type_proto(int(value.type.dtype), dims)
    proto = onnx.TypeProto()
    ir.serde.serialize_type_into(proto, value.type)
    return proto


def _shaped(found: Mapping[str, onnx.TypeProto]) -> bool:
    return bool(found) and all(not t.HasField("tensor_type") or t.tensor_type.HasField("shape") for t in found.values())


def _by_body(node: ir.Node, opsets: dict[str, int], types: Mapping[str, onnx.TypeProto | None],
             data: Mapping[str, onnx.TensorProto]) -> dict[str, onnx.TypeProto]:
    """For operators that onnx describes by a function body only; {} where that cannot be inferred."""
    model = single(node, opsets)
    for port in model.graph.input:
        port.type.CopyFrom(types[port.name])
    model.graph.initializer.extend(data.values())
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    return {o.name: o.type for o in inferred.graph.output}


def _node(node: ir.Node) -> onnx.NodeProto:
    """The node; a pool with ceil_mode as one without that has the same windows, an STFT with its default written out, which
    onnx.shape_inference does not know.

    A window that would begin in the padding at the end does not exist (said by the standard since opset 22, always done by
    runtimes); onnx.shape_inference counts it before."""
    proto = ir.serde.serialize_node(node)
    x = node.inputs[0] if node.inputs else None
    if node.op_type == "STFT" and not node.domain and get(node, "onesided") is None:
        proto.attribute.append(onnx.helper.make_attribute("onesided", 1))
    if node.op_type not in _POOLS or node.domain or not get(node, "ceil_mode", 0) or x is None or x.shape is None:
        return proto
    ends = _end_pads(node, x.shape.numpy()[2:]) if x.shape.is_static() else None
    if ends is None:
        return proto
    kept = [a for a in proto.attribute if a.name not in ("ceil_mode", "pads")]
    begins = tuple(get(node, "pads", (0,) * 2 * len(ends)))[: len(ends)]
    del proto.attribute[:]
    proto.attribute.extend([*kept, onnx.helper.make_attribute("pads", [*begins, *ends])])
    return proto


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


def unresolved(graph: ir.Graph) -> ir.Value | None:
    """First value of a graph, or of a branch of its Ifs, whose shape or element type is not known ahead of time."""
    for node in graph:
        if node.op_type == "If" and node.domain == "":
            for attr in node.attributes.values():
                found = unresolved(attr.value) if attr.type == ir.AttributeType.GRAPH else None
                if found is not None:
                    return found
        for value in node.outputs:
            used = value.uses() or value.is_graph_output()
            if used and not (
                isinstance(value.type, ir.TensorType) and value.shape is not None and value.shape.is_static()
            ):
                return value
    return None
