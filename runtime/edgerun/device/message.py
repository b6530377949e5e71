"""A request as the Open Inference Protocol v2 writes it, and the answer read back; for HTTP (binary tensors) and gRPC.

What comes back is looked at as closely as what a server takes: sizes, types and shapes before anything is made of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun.errors import InputError
from edgerun.splits.oip_messages import messages
from edgerun.splits.wire import Packed

Array = np.ndarray[Any, Any]
_KINDS = {"b": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}
EXIT_SCORES = "exit_scores"
MOST_OUTPUTS = 256


class BadAnswer(Exception):
    """What came is no answer of this protocol to this request."""


@dataclass(frozen=True)
class Tensor:
    """payload: little-endian, row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    payload: bytes
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """outputs by name; parameters: what the server says about the run."""

    outputs: Mapping[str, Array]
    parameters: Mapping[str, Any]


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a NumPy type. InputError where it has none."""
    known = _KINDS.get(dtype.kind)
    if known is None or dtype.itemsize > 8:
        raise InputError(f"expected a type that travels (bool, whole numbers, float16 to float64); found {dtype}")
    return known if known == "BOOL" else f"{known}{8 * dtype.itemsize}"


_DTYPES = {datatype_of(d): d for d in map(np.dtype, ("?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"))}


def tensor_of(name: str, x: Array) -> Tensor:
    """Numbers as they are."""
    raw = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("<"), copy=False))
    return Tensor(name, datatype_of(x.dtype), x.shape, raw.tobytes())


def features_of(name: str, p: Packed) -> Tensor:
    """Packed features: numbers of 32 or 16 bits as they are, int8 as bytes with what turns them back."""
    if p.encoding != "int8":
        return Tensor(name, "FP16" if p.encoding == "fp16" else datatype_of(np.dtype(p.dtype)), p.shape, p.payload)
    return Tensor(name, "UINT8", (len(p.payload),), p.payload, {
        "edgerun_encoding": "int8", "scale": p.scale, "zero": p.zero, "shape": ",".join(map(str, p.shape))})


# -- HTTP ---------------------------------------------------------------------------------------------------------------


def to_http(work: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> tuple[bytes, int]:
    """(body, length of the JSON in front). work: the request's id, the same in every attempt at it."""
    inputs: list[dict[str, Any]] = [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape),
               "parameters": {**t.parameters, "binary_data_size": len(t.payload)}} for t in tensors]
    page = {"id": work, "inputs": inputs, "parameters": {**parameters, "binary_data_output": True}}
    head = json.dumps(page, separators=(",", ":")).encode()
    return b"".join([head, *(t.payload for t in tensors)]), len(head)


def from_http(body: bytes, json_length: int | None) -> Reply:
    """Raises BadAnswer."""
    length = len(body) if json_length is None else json_length
    page = read_json(body[:length]) if 0 <= length <= len(body) else None
    entries = page.get("outputs") if page else None
    if page is None or not isinstance(entries, list) or len(entries) > MOST_OUTPUTS:
        raise BadAnswer("expected an object with outputs")
    outputs, at = {}, length
    for entry in entries:
        try:
            name, shape, datatype = entry["name"], entry["shape"], entry["datatype"]
            size = entry.get("parameters", {}).get("binary_data_size")
            if size is None:
                outputs[name] = np.array(entry["data"], _DTYPES[datatype]).reshape(shape)
                continue
            if type(size) is not int or not 0 <= size <= len(body) - at:
                raise ValueError("binary_data_size")
            outputs[name] = _array(datatype, shape, body[at:at + size])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            raise BadAnswer(f"an output that cannot be read: {type(e).__name__}") from e
        at += size
    if at != len(body):
        raise BadAnswer(f"{len(body) - at} bytes behind the outputs")
    parameters = page.get("parameters", {})
    return Reply(outputs, parameters if isinstance(parameters, dict) else {})


def read_json(text: bytes) -> dict[str, Any] | None:
    """An object, or None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _array(datatype: Any, shape: Any, payload: bytes) -> Array:
    code = _DTYPES[datatype]
    dims = tuple(int(d) for d in shape)
    if len(dims) > 16 or min(dims, default=0) < 0 or math.prod(dims) * code.itemsize != len(payload):
        raise ValueError("shape")
    x: Array = np.frombuffer(payload, code).reshape(dims).astype(code.newbyteorder("="))
    return x


# -- gRPC ---------------------------------------------------------------------------------------------------------------


def to_grpc(model: str, version: str, work: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> bytes:
    """A ModelInferRequest, serialised."""
    m = messages().ModelInferRequest(model_name=model, model_version=version, id=work)
    _fill(m.parameters, parameters)
    for t in tensors:
        entry = m.inputs.add(name=t.name, datatype=t.datatype, shape=t.shape)
        _fill(entry.parameters, t.parameters)
        m.raw_input_contents.append(t.payload)
    body: bytes = m.SerializeToString()
    return body


def from_grpc(body: bytes) -> Reply:
    """Raises BadAnswer."""
    from google.protobuf.message import DecodeError

    m = messages().ModelInferResponse()
    try:
        m.ParseFromString(body)
        if len(m.outputs) > MOST_OUTPUTS:
            raise ValueError("too many outputs")
        outputs = {o.name: _array(o.datatype, o.shape, raw) for o, raw in zip(m.outputs, m.raw_output_contents, strict=True)}
    except (DecodeError, KeyError, ValueError) as e:
        raise BadAnswer(f"an output that cannot be read: {type(e).__name__}") from e
    found = {k: getattr(v, kind) for k, v in m.parameters.items() if (kind := v.WhichOneof("parameter_choice"))}
    return Reply(outputs, found)


def _fill(parameters: Any, values: Mapping[str, Any]) -> None:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for name, value in values.items():
        setattr(parameters[name], kinds[type(value)], value)
