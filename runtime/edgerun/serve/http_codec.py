"""Inference requests and answers in HTTP: JSON, and Triton's extension for binary tensors.

A binary body is the JSON, whose length the header Inference-Header-Content-Length gives, and behind it the bytes of those tensors whose
parameters have binary_data_size, in their order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerun.errors import Refused
from edgerun.limits import short
from edgerun.serve import strict_json
from edgerun.serve.oip import Array, InferRequest, InferResponse, InputTensor, OutputWish

MOST_TENSORS = 256
MOST_PARAMETERS = 64
MOST_TEXT = 4096
"""Characters of an id, a name, or text in a parameter."""
_ID = 256


def decode(model: str, version: str, body: bytes, json_length: int | None, depth: int) -> InferRequest:
    """json_length: of the header, None without it. Raises Refused: syntax, size, parameter."""
    head, tail = body, memoryview(b"")
    if json_length is not None:
        if json_length > len(body):
            raise Refused("size", f"Inference-Header-Content-Length: expected at most {len(body)}, the body's bytes; found {json_length}")
        head, tail = body[:json_length], memoryview(body)[json_length:]
    top = strict_json.loads(head, depth)
    _object("the request", top, {"id", "parameters", "inputs", "outputs"})
    inputs = []
    for entry in _list("inputs", top.get("inputs")):
        tensor, tail = _input(entry, tail)
        inputs.append(tensor)
    if tail.nbytes:
        raise Refused("size", f"expected binary_data_size of the inputs to add up to the binary part; found {tail.nbytes} bytes more")
    outputs = tuple(_wish(o) for o in _list("outputs", top.get("outputs", [])))
    return InferRequest(model, version, tuple(inputs), outputs, _text("id", top.get("id", ""), _ID), _parameters(top))


def _input(entry: Any, tail: memoryview) -> tuple[InputTensor, memoryview]:
    _object("an input", entry, {"name", "shape", "datatype", "parameters", "data"})
    name, datatype = _text("name", entry.get("name")), _text("datatype", entry.get("datatype"), 16)
    shape = _list(f"{short(name)}: shape", entry.get("shape"), 16)
    if any(isinstance(d, bool) or not isinstance(d, int) for d in shape):
        raise Refused("shape", f"{short(name)}: shape: expected whole numbers")
    parameters = dict(_parameters(entry))
    size = parameters.pop("binary_data_size", None)
    if size is None:
        return InputTensor(name, datatype, tuple(shape), _numbers(name, datatype, entry.get("data")), parameters), tail
    if "data" in entry or isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= tail.nbytes:
        raise Refused("size", f"{short(name)}: binary_data_size: expected the number of its bytes behind the JSON, and no data in it")
    return InputTensor(name, datatype, tuple(shape), tail[:size], parameters), tail[size:]


def _numbers(name: str, datatype: str, data: Any) -> Array:
    """Nested or flat lists, in row-major order either way."""
    if not isinstance(data, list):
        raise Refused("syntax", f"{short(name)}: data: expected a list, or binary_data_size")
    try:
        x: Array = np.asarray(data)
        if datatype == "UINT64" and x.dtype.kind in "fO":  # NumPy makes floats of numbers of 64 bits beside others
            whole = np.asarray(data, object)
            if all(type(v) is int and 0 <= v < 2**64 for v in whole.flat):
                x = whole.astype(np.uint64)
    except (ValueError, OverflowError) as e:
        raise Refused("size", f"{short(name)}: data: expected lists of equal length") from e
    if x.dtype.kind not in "biuf" and x.size:
        raise Refused("datatype", f"{short(name)}: data: expected numbers, or true and false")
    return x


def _wish(entry: Any) -> OutputWish:
    _object("an output", entry, {"name", "parameters"})
    return OutputWish(_text("name", entry.get("name")), _parameters(entry))


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("parameters", {})
    if not isinstance(found, dict) or len(found) > MOST_PARAMETERS:
        raise Refused("parameter", f"parameters: expected an object of at most {MOST_PARAMETERS}")
    for name, value in found.items():
        if isinstance(value, dict) or value is None or len(name) > MOST_TEXT or (isinstance(value, str) and len(value) > MOST_TEXT * 16):
            raise Refused("parameter", f"{short(name)}: expected a number, text, true, false or a list of numbers")
    return found


def _object(what: str, entry: Any, known: set[str]) -> None:
    if not isinstance(entry, dict):
        raise Refused("syntax", f"{what}: expected an object")
    unknown = set(entry) - known
    if unknown:
        raise Refused("syntax", f"{what}: expected {', '.join(sorted(known))}; found {short(sorted(unknown)[0])}")


def _list(what: str, value: Any, most: int = MOST_TENSORS) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise Refused("syntax", f"{what}: expected a list of at most {most}")
    return value


def _text(what: str, value: Any, most: int = MOST_TEXT) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise Refused("syntax", f"{what}: expected text of at most {most} characters")
    return value


def encode(answer: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """(body, length of the JSON in it where tensors follow in binary, else None)."""
    wishes = {w.name: w.parameters.get("binary_data") for w in request.outputs}
    everything = request.parameters.get("binary_data_output") is True
    outputs, chunks = [], []
    for o in answer.outputs:
        entry: dict[str, Any] = {"name": o.name, "datatype": o.datatype, "shape": list(o.data.shape)}
        wish = wishes.get(o.name)
        if wish is True or (wish is None and everything):
            raw = o.data.astype(o.data.dtype.newbyteorder("<"), copy=False).tobytes()
            entry["parameters"] = {"binary_data_size": len(raw)}
            chunks.append(raw)
        else:
            entry["data"] = _plain(o.data)
        outputs.append(entry)
    head = {"model_name": answer.model, "model_version": answer.version, "outputs": outputs, "parameters": dict(answer.parameters)}
    if answer.id:
        head["id"] = answer.id
    text = json.dumps(head, allow_nan=False).encode()
    return b"".join([text, *chunks]), len(text) if chunks else None


def _plain(x: Array) -> list[Any]:
    """Flat, in row-major order; what JSON has no number for becomes null."""
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        return [v if np.isfinite(v) else None for v in x.ravel().tolist()]
    return x.ravel().tolist()
