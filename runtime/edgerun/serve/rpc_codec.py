"""Inference requests and answers in gRPC: protobuf messages to and from the plain values of `oip`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerun.errors import Refused
from edgerun.limits import short
from edgerun.serve.http_codec import MOST_PARAMETERS, MOST_TENSORS, MOST_TEXT
from edgerun.serve.oip import InferRequest, InferResponse, InputTensor, OutputWish
from edgerun.splits.oip_messages import messages

_CONTENTS = {
    "BOOL": ("bool_contents", "?"), "UINT8": ("uint_contents", "u4"), "UINT16": ("uint_contents", "u4"), "UINT32": ("uint_contents", "u4"),
    "UINT64": ("uint64_contents", "u8"), "INT8": ("int_contents", "i4"), "INT16": ("int_contents", "i4"), "INT32": ("int_contents", "i4"),
    "INT64": ("int64_contents", "i8"), "FP32": ("fp32_contents", "f4"), "FP64": ("fp64_contents", "f8"),
}
"""Datatype → the typed field that the specification gives it; FP16 has none and travels raw."""


def parse(kind: str, body: bytes) -> Any:
    """A message of that class. Refused("syntax")."""
    from google.protobuf.message import DecodeError

    found = getattr(messages(), kind)()
    try:
        found.ParseFromString(body)
    except DecodeError as e:
        raise Refused("syntax", f"expected a message {kind}") from e
    return found


def decode(m: Any) -> InferRequest:
    """Of a ModelInferRequest. Raises Refused: syntax, size, parameter."""
    if len(m.inputs) > MOST_TENSORS or len(m.outputs) > MOST_TENSORS:
        raise Refused("syntax", f"expected at most {MOST_TENSORS} inputs and outputs")
    raw = m.raw_input_contents
    if raw and len(raw) != len(m.inputs):
        raise Refused("size", f"raw_input_contents: expected none, or one for each of {len(m.inputs)} inputs; found {len(raw)}")
    for what, text in (("id", m.id), ("name", m.model_name), ("version", m.model_version), *(("name", i.name) for i in m.inputs)):
        if len(text) > MOST_TEXT or (what == "id" and len(text) > 256):
            raise Refused("syntax", f"{what}: expected shorter text")
    inputs = tuple(_input(i, raw[k] if raw else None) for k, i in enumerate(m.inputs))
    return InferRequest(m.model_name, m.model_version, inputs, tuple(OutputWish(o.name, _values(o.parameters)) for o in m.outputs), m.id,
                        _values(m.parameters))


def _input(i: Any, raw: bytes | None) -> InputTensor:
    if len(i.shape) > 16:
        raise Refused("shape", f"{short(i.name)}: expected at most 16 dimensions")
    filled = [f.name for f, _ in i.contents.ListFields()]
    shape, parameters = tuple(i.shape), _values(i.parameters)
    if raw is not None:
        if filled:
            raise Refused("size", f"{short(i.name)}: expected its data in raw_input_contents or in contents, not in both")
        return InputTensor(i.name, i.datatype, shape, raw, parameters)
    if i.datatype == "BYTES" and filled == ["bytes_contents"] and len(i.contents.bytes_contents) == 1:
        one = i.contents.bytes_contents[0]
        return InputTensor(i.name, i.datatype, shape, len(one).to_bytes(4, "little") + one, parameters)
    field, code = _CONTENTS.get(i.datatype, ("", ""))
    if not field or filled not in ([], [field]):
        raise Refused("datatype", f"{short(i.name)}: expected {short(i.datatype)} in {field or 'raw_input_contents'}")
    return InputTensor(i.name, i.datatype, shape, np.array(getattr(i.contents, field), code), parameters)


def _values(parameters: Any) -> dict[str, Any]:
    if len(parameters) > MOST_PARAMETERS or any(len(k) > MOST_TEXT for k in parameters):
        raise Refused("parameter", f"parameters: expected at most {MOST_PARAMETERS}")
    found = {}
    for name, value in parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise Refused("parameter", f"{short(name)}: expected a value")
        found[name] = getattr(value, kind)
    return found


def encode(answer: InferResponse) -> bytes:
    """A ModelInferResponse; all tensors raw."""
    m = messages().ModelInferResponse(model_name=answer.model, model_version=answer.version, id=answer.id)
    fill(m.parameters, answer.parameters)
    for o in answer.outputs:
        m.outputs.add(name=o.name, datatype=o.datatype, shape=o.data.shape)
        m.raw_output_contents.append(o.data.astype(o.data.dtype.newbyteorder("<"), copy=False).tobytes())
    out: bytes = m.SerializeToString()
    return out


def fill(parameters: Any, values: Mapping[str, Any]) -> None:
    """Set a map of InferParameter."""
    for name, value in values.items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(parameters[name], kind, value)
