"""A file, bytes or a ModelProto to a checked model, with one typed error for each thing that can be wrong with it.

In this order, so that nothing sees what the step before has not bounded: size of the file, scan of the bytes, parse,
ONNX Runtime's quantised operators written in standard ones, structure (operators, nesting, attributes), external data,
tensors, and at last the rules of ONNX itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.checker
import onnx.defs
from google.protobuf.message import DecodeError

from edgerun.errors import ModelFormatError
from edgerun.limits import Limits

from .external import load_external
from .files import read_model
from .microsoft import standard
from .structure import all_nodes, all_tensors, check_structure, check_tensors
from .wire import scan

OLDEST_OPSET = 7
Source = "str | os.PathLike[str] | bytes | onnx.ModelProto"


@dataclass(frozen=True)
class Checked:
    """A model that kept every rule; `name` is what messages call it, `budget` the bytes it may use (Limits.budget)."""

    proto: onnx.ModelProto
    name: str
    budget: int
    limits: Limits


def read(source: str | os.PathLike[str] | bytes | onnx.ModelProto, limits: Limits | None = None,
         allow_nan: bool = False) -> Checked:
    """Read and check. allow_nan: weights may hold NaN. Raises ModelNotFoundError, ModelFormatError, UnsupportedOpError,
    ShapeError, LimitError."""
    limits = limits or Limits()
    folder: Path | None = None
    if isinstance(source, onnx.ModelProto):
        proto, name, held = source, "model", source.ByteSize()
    else:
        if isinstance(source, (bytes, bytearray, memoryview)):
            name, data = "model bytes", bytes(source)
        else:
            name, folder = str(source), Path(source).parent
            data = read_model(Path(source), limits.file)
        proto, held = _parse(data, name, limits), len(data)
    if not proto.ir_version or not proto.opset_import or not proto.HasField("graph"):
        raise ModelFormatError(
            f"{name}: expected an ONNX model, found a file without ir_version, opset_import or graph"
        )
    proto = standard(proto, name)
    check_structure(proto, name, limits)
    _check_opset(proto, name)
    outside = load_external(((t, f"{name}: {w}") for t, w in all_tensors(proto)), folder, limits,
                            2 * limits.file if limits.memory is None else limits.memory)
    budget = limits.budget(held + outside)
    check_tensors(proto, name, budget, allow_nan)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelFormatError(f"{name}: against the ONNX rules: {_first_line(error)}") from error
    return Checked(proto, name, budget, limits)


def _parse(data: bytes, name: str, limits: Limits) -> onnx.ModelProto:
    if not data:
        raise ModelFormatError(f"{name}: expected an ONNX model, found nothing (0 bytes)")
    scan(data, name, limits)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError) as error:
        raise ModelFormatError(
            f"{name}: not an ONNX model, or damaged ({len(data)} bytes that protobuf cannot parse)"
        ) from error
    return proto


def _check_opset(proto: onnx.ModelProto, name: str) -> None:
    opsets = {entry.domain if entry.domain != "ai.onnx" else "": entry.version for entry in proto.opset_import}
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET and not _same_since(proto.graph, opsets[""]):
        raise ModelFormatError(
            f"{name}: expected opset {OLDEST_OPSET} or newer, found {opsets['']}; "
            "convert it with onnx.version_converter"
        )
    newest = onnx.defs.onnx_opset_version()
    if not 0 < opsets.get("", OLDEST_OPSET) <= newest:
        raise ModelFormatError(f"{name}: expected opset {OLDEST_OPSET} to {newest} (what onnx {onnx.__version__} knows), found "
                               f"{opsets['']}; update onnx, or export the model with an older opset")


def _same_since(graph: onnx.GraphProto, opset: int) -> bool:
    """Whether every operator of an older opset still meant the same in the oldest one that is read."""

    def since(op: str, version: int) -> int:
        return int(onnx.defs.get_schema(op, version, "").since_version) if onnx.defs.has(op, version, "") else -1

    return all(node.domain or since(node.op_type, opset) == since(node.op_type, OLDEST_OPSET) for node in all_nodes(graph.node))


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
