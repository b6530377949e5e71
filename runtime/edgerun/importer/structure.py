"""The rules a model must keep before anything else looks at it: operators, names, nesting, attributes, tensors.

Nothing here recurses deeper than `Limits.depth`, multiplies in bounded integers, or computes with what the file says.
What only shapes can tell is checked later (`shapes`, `fold`); what ONNX itself demands is left to `onnx.checker`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx.defs

from edgerun.errors import ModelFormatError, ShapeError, UnsupportedOpError
from edgerun.limits import Limits, refuse, short

from .attributes import check_attributes
from .tensors import check_tensor, count

_TYPES = frozenset(onnx.TensorProto.DataType.values())  # UNDEFINED too: inferred later
Functions = Mapping[tuple[str, str, str], onnx.FunctionProto]


def check_structure(proto: onnx.ModelProto, name: str, limits: Limits) -> None:
    """Everything but the contents of tensors. Raises ModelFormatError, UnsupportedOpError, ShapeError, LimitError."""
    for text in (*(o.domain for o in proto.opset_import), *(t for f in proto.functions for t in (f.domain, f.name)),
                 *(t for p in proto.metadata_props for t in (p.key, p.value[:1]))):
        _check_name(text, name, limits)
    opsets = _opsets(proto.opset_import, name)
    functions: dict[tuple[str, str, str], onnx.FunctionProto] = {}
    for f in proto.functions:
        key = (f.domain, f.name, getattr(f, "overload", ""))
        if key in functions:
            raise ModelFormatError(f"{name}: expected every function once, found '{short(f.name)}' twice")
        functions[key] = f
    _check_calls(proto, functions, name, limits)
    for f in proto.functions:
        inner = {**opsets, **_opsets(f.opset_import, name)}
        for node in f.node:
            _check_node(node, inner, functions, f"{name}: function '{short(f.name)}'", limits, 0)
    _check_graph(proto.graph, opsets, functions, name, limits, 0)


def _opsets(entries: object, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in entries:  # type: ignore[attr-defined]
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if found.setdefault(domain, entry.version) != entry.version:
            raise ModelFormatError(f"{name}: expected one version of operator set '{short(domain)}', found "
                                   f"{found[domain]} and {entry.version}")
    return found


def _check_calls(proto: onnx.ModelProto, functions: Functions, name: str, limits: Limits) -> None:
    """Count the nodes that remain when every call is replaced by the function's nodes, without doing it."""
    sizes: dict[tuple[str, str, str], int] = {}
    for start in functions:
        stack = [start]
        while stack:
            key = stack[-1]
            if key in sizes:
                stack.pop()
                continue
            calls = [_key(n) for n in all_nodes(functions[key].node) if _key(n) in functions]
            missing = [c for c in dict.fromkeys(calls) if c not in sizes]
            if any(c in stack for c in missing):
                raise ModelFormatError(f"{name}: function '{short(key[1])}' calls itself, which ONNX forbids")
            if missing:
                stack += missing[:1]
                if len(stack) > limits.depth:
                    raise refuse(name, "functions within functions", len(stack), limits.depth, "max_depth= (--bound depth=N)")
                continue
            sizes[key] = sum(1 for _ in all_nodes(functions[key].node)) + sum(sizes[c] for c in calls)
            stack.pop()
    total = sum(1 + sizes.get(_key(n), 0) for n in all_nodes(proto.graph.node))
    if total > limits.nodes:
        raise refuse(name, "number of nodes", total, limits.nodes, "max_nodes= (--bound nodes=N)")


def _key(node: onnx.NodeProto) -> tuple[str, str, str]:
    return node.domain, node.op_type, getattr(node, "overload", "")


def all_nodes(nodes: object) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the graphs in their attributes."""
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g.node)
            for sub in attribute.graphs:
                yield from all_nodes(sub.node)


def all_tensors(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    """(tensor, where it stands) of every initializer and attribute."""
    for tensor, where, _ in _held(proto):
        if isinstance(tensor, onnx.SparseTensorProto):
            yield tensor.values, where
            yield tensor.indices, where
        else:
            yield tensor, where


def _held(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto | onnx.SparseTensorProto, str, bool]]:
    """(tensor, where it stands, whether NaN has a meaning there: it separates the sets of a TreeEnsemble)."""
    graphs = [proto.graph]
    for node in (*(n for f in proto.functions for n in all_nodes(f.node)), *all_nodes(proto.graph.node)):
        where = f"node '{short(node.name)}' ({short(node.op_type)})"
        for a in node.attribute:
            one = (a.t if a.HasField("t") else None, a.sparse_tensor if a.HasField("sparse_tensor") else None)
            marks = node.domain == "ai.onnx.ml"
            yield from ((t, where, marks) for t in (*one, *a.tensors, *a.sparse_tensors) if t is not None)
            graphs += [*([a.g] if a.HasField("g") else []), *a.graphs]
    for graph in graphs:
        yield from ((t, "initializer", False) for t in (*graph.initializer, *graph.sparse_initializer))


def _check_graph(graph: onnx.GraphProto, opsets: Mapping[str, int], functions: Functions, name: str, limits: Limits,
                 depth: int) -> None:
    if depth > limits.depth:
        raise refuse(name, "graphs within graphs", depth, limits.depth, "max_depth= (--bound depth=N)")
    _check_text(name, graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.metadata_props)
    seen: set[str] = set()
    for tensor in (*graph.initializer, *(s.values for s in graph.sparse_initializer)):
        _check_name(tensor.name, name, limits)
        if tensor.name in seen:
            raise ModelFormatError(f"{name}: expected every initializer once, found '{short(tensor.name)}' twice")
        seen.add(tensor.name)
    for value in (*graph.input, *graph.output, *graph.value_info):
        _check_name(value.name, name, limits)
        if value.type.tensor_type.elem_type not in _TYPES:
            raise ModelFormatError(f"{name}: '{short(value.name)}': expected an ONNX element type, found number "
                                   f"{value.type.tensor_type.elem_type}")
        for dim in value.type.tensor_type.shape.dim:
            _check_name(dim.dim_param, name, limits)
            if dim.dim_value < -1:  # some exporters write -1 for what is not known
                raise ShapeError(f"{name}: '{short(value.name)}': expected dimensions of 0 or more, found {dim.dim_value}")
        count([max(d.dim_value, 0) for d in value.type.tensor_type.shape.dim], f"{name}: '{short(value.name)}'")
    for node in graph.node:
        _check_node(node, opsets, functions, name, limits, depth)


def _check_node(node: onnx.NodeProto, opsets: Mapping[str, int], functions: Functions, name: str, limits: Limits,
                depth: int) -> None:
    for text in (node.name, node.op_type, node.domain, *node.input, *node.output):
        _check_name(text, name, limits)
    where = f"{name}: node '{short(node.name)}' ({short(node.op_type)})"
    _check_text(where, node, *node.attribute, *node.metadata_props)
    _check_operator(node, opsets, functions, where, limits)
    check_attributes(node, where)
    for a in node.attribute:
        _check_name(a.name, name, limits)
        for sub in (*([a.g] if a.HasField("g") else []), *a.graphs):
            if node.op_type == "If" and (sub.input or len(sub.output) != len(node.output)):
                raise ModelFormatError(f"{where}: {short(a.name)}: expected a branch without inputs and with "
                                       f"{len(node.output)} outputs, found {len(sub.input)} and {len(sub.output)}")
            _check_graph(sub, opsets, functions, name, limits, depth + 1)


def _check_operator(node: onnx.NodeProto, opsets: Mapping[str, int], functions: Functions, where: str,
                    limits: Limits) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    full = f"{domain}.{node.op_type}" if domain else node.op_type
    if limits.operators is not None and full not in limits.operators:
        raise UnsupportedOpError(f"{where}: operator {short(full)} is not among the allowed ones (allowed_ops=)")
    if _key(node) in functions:
        return
    version = opsets.get(domain)
    if version is None or not onnx.defs.has(node.op_type, version, domain):
        raise UnsupportedOpError(f"{where} uses operator {short(full)}, which ONNX opset {version} does not define and the "
                                 "model does not contain as a function")
    if "" in node.input:
        _check_absent(node, onnx.defs.get_schema(node.op_type, version, domain), where)


def _check_absent(node: onnx.NodeProto, schema: onnx.defs.OpSchema, where: str) -> None:
    """Only optional operands may be absent; onnx.checker counts them, no more."""
    for k, operand in enumerate(node.input):
        formal = schema.inputs[min(k, len(schema.inputs) - 1)] if schema.inputs else None
        if not operand and (formal is None or formal.option != onnx.defs.OpSchema.FormalParameterOption.Optional):
            raise ModelFormatError(f"{where}: input {k} ({formal.name if formal else '?'}): expected an operand, found none")


_TEXTS = ("name", "doc_string", "overload", "ref_attr_name", "key", "value")


def _check_text(where: str, *messages: object) -> None:
    """Of any length, but UTF-8: protobuf hands other text on as bytes, and onnx-ir cannot write it again."""
    for message in messages:
        if any(isinstance(getattr(message, field, ""), bytes) for field in _TEXTS):
            raise ModelFormatError(f"{where}: expected text in UTF-8 in {type(message).__name__}, found other bytes")


def _check_name(text: str | bytes, name: str, limits: Limits) -> None:
    if isinstance(text, bytes):  # what protobuf could not decode
        raise ModelFormatError(f"{name}: expected names in UTF-8, found {text[:40]!r}")
    if len(text) > limits.name:
        raise refuse(name, f"length of the name '{short(text)}'", len(text), limits.name, "max_name= (--bound name=BYTES)")


def check_tensors(proto: onnx.ModelProto, name: str, budget: int, allow_nan: bool) -> int:
    """Every tensor by itself, and all together against the budget, sparse ones as the dense ones they stand for. Returns
    their bytes. Raises ModelFormatError, ShapeError."""
    total = 0
    for tensor, where, nan_means in _held(proto):
        where, allowed = f"{name}: {where}", allow_nan or nan_means
        if isinstance(tensor, onnx.SparseTensorProto):
            for part in (tensor.values, tensor.indices):
                total += check_tensor(part, where, budget - total, allowed)
            dense = onnx.TensorProto(name=tensor.values.name, data_type=tensor.values.data_type, dims=tensor.dims,
                                     data_location=onnx.TensorProto.EXTERNAL)  # without data: only its size is looked at
            total += check_tensor(dense, where, budget - total, allowed)
        else:
            total += check_tensor(tensor, where, budget - total, allowed)
    return total
