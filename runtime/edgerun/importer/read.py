"""Bytes to a checked ModelProto, with one typed error for each thing that can be wrong with a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.checker
import onnx.defs
from google.protobuf.message import DecodeError

from edgerun.errors import ModelFormatError, ModelNotFoundError, UnsupportedOpError

OLDEST_OPSET = 7
Source = "str | os.PathLike[str] | bytes | onnx.ModelProto"


def read(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """(model, what to call it in messages). Raises ModelNotFoundError, ModelFormatError, UnsupportedOpError."""
    if isinstance(source, onnx.ModelProto):
        proto, name = source, "model"
    elif isinstance(source, (bytes, bytearray, memoryview)):
        proto, name = _parse(bytes(source), "model bytes"), "model bytes"
    else:
        proto, name = _load(Path(source)), str(source)
    if not proto.ir_version or not proto.opset_import or not proto.HasField("graph"):
        raise ModelFormatError(
            f"{name}: expected an ONNX model, found a file without ir_version, opset_import or graph"
        )
    _check(proto, name)
    return proto, name


def _load(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelNotFoundError(f"{path}: no such file; expected the path of an ONNX model") from error
    except IsADirectoryError as error:
        raise ModelFormatError(f"{path}: expected an ONNX file, found a folder") from error
    except OSError as error:
        raise ModelFormatError(f"{path}: expected an ONNX file that can be read, found: {error.strerror}") from error
    proto = _parse(data, str(path))
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelFormatError(f"{path}: external data cannot be read: {error}") from error
    return proto


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    if not data:
        raise ModelFormatError(f"{name}: expected an ONNX model, found nothing (0 bytes)")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError) as error:
        raise ModelFormatError(
            f"{name}: not an ONNX model, or damaged ({len(data)} bytes that protobuf cannot parse)"
        ) from error
    return proto


def _check(proto: onnx.ModelProto, name: str) -> None:
    opsets = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in proto.opset_import}
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET and not _same_since(proto.graph, opsets[""]):
        raise ModelFormatError(
            f"{name}: expected opset {OLDEST_OPSET} or newer, found {opsets['']}; "
            "convert it with onnx.version_converter"
        )
    functions = {(f.domain, f.name) for f in proto.functions}
    for node in all_nodes(proto.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (node.domain, node.op_type) in functions:
            continue
        version = opsets.get(domain)
        if not onnx.defs.has(node.op_type, domain) or (
            version is not None and not onnx.defs.has(node.op_type, version, domain)
        ):
            where = f"{domain}.{node.op_type}" if domain else node.op_type
            raise UnsupportedOpError(
                f"{name}: node '{node.name}' uses operator {where}, which ONNX opset {version} does not "
                "define and the model does not contain as a function"
            )
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelFormatError(f"{name}: against the ONNX rules: {_first_line(error)}") from error


def _same_since(graph: onnx.GraphProto, opset: int) -> bool:
    """Whether every operator of an older opset still meant the same in the oldest one that is read."""

    def since(op: str, version: int) -> int:
        return int(onnx.defs.get_schema(op, version, "").since_version) if onnx.defs.has(op, version, "") else -1

    return all(node.domain or since(node.op_type, opset) == since(node.op_type, OLDEST_OPSET) for node in all_nodes(graph))


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs in its attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)
            for sub in attribute.graphs:
                yield from all_nodes(sub)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
