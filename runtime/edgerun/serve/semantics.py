"""A request held against its model: names, datatypes, shapes, sizes, finite values. What passes can be fed to the session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import InputError, Refused
from edgerun.feeds import TensorInfo
from edgerun.limits import short
from edgerun.serve.oip import DATATYPES, NAMES, Array, InferRequest, InputTensor
from edgerun.serve.served import Served
from edgerun.splits.wire import Packed, unpack

EXIT_SCORES = "exit_scores"
"""Name of the optional tensor (or parameter) with the scores of the device's exit: FP32, any shape, at most MOST_SCORES elements."""
MOST_SCORES = 4096
ENCODING = "edgerun_encoding"
LARGEST = 1 << 31
"""Bound on a dimension, and on the elements of a tensor."""


@dataclass(frozen=True)
class Asked:
    """feeds: for the session, by input name. exit_scores: float32 [n], None where the device sent none. outputs: names wanted, () for all.
    wait_s: how long the request may wait for a worker, None where it does not say."""

    feeds: dict[str, Array]
    exit_scores: Array | None
    outputs: tuple[str, ...]
    wait_s: float | None


def understand(served: Served, request: InferRequest) -> Asked:
    """Raises Refused: input, output, datatype, shape, size, nonfinite, encoding, parameter."""
    given: dict[str, InputTensor] = {}
    for tensor in request.inputs:
        if tensor.name in given:
            raise Refused("input", f"input {short(tensor.name)!r} is given twice")
        given[tensor.name] = tensor
    scores = given.pop(EXIT_SCORES, None) if EXIT_SCORES not in served.fixed else None
    known = [i.name for i in served.inputs]
    if set(given) != set(known):
        raise Refused("input", f"expected the inputs {', '.join(known)}; found {', '.join(short(n) for n in list(given)[:8]) or 'none'}")
    feeds: dict[str, Array] = {}
    symbols: dict[str, int] = {}
    for info in served.inputs:
        feeds[info.name] = _array(served, info, given[info.name], symbols)
    if request.parameters.get("sequence_id"):  # 0 and "" are Triton's words for none
        raise Refused("parameter", "sequence_id: expected none, as nothing is kept from one request to the next; found one")
    exit_scores = _scores(scores) if scores is not None else _listed_scores(request.parameters.get(EXIT_SCORES))
    return Asked(feeds, exit_scores, _wanted(served, request), _wait(request.parameters.get("timeout")))


def _wanted(served: Served, request: InferRequest) -> tuple[str, ...]:
    names = [w.name for w in request.outputs]
    known = {o.name for o in served.outputs}
    if len(set(names)) != len(names) or not set(names) <= known:
        raise Refused("output", f"expected each of {', '.join(sorted(known))} at most once; found "
                                f"{', '.join(short(n) for n in names[:8])}")
    for wish in request.outputs:
        if wish.parameters.get("classification"):
            raise Refused("parameter", "classification: expected none: ask for the scores; found a number of classes")
    return tuple(names)


def _wait(timeout: Any) -> float | None:
    """Seconds for Triton's parameter `timeout` in microseconds; 0 means none."""
    if timeout is None or timeout == 0:
        return None
    if isinstance(timeout, str) and timeout.isdecimal() and len(timeout) < 16:
        timeout = int(timeout)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise Refused("parameter", "timeout: expected a whole number of microseconds")
    return min(timeout / 1e6, 1e9)


def _array(served: Served, info: TensorInfo, tensor: InputTensor, symbols: dict[str, int]) -> Array:
    if ENCODING in tensor.parameters:
        x = _encoded(info, tensor, served, symbols)
    else:
        widen = served.split is not None and tensor.datatype == "FP16" and info.dtype == np.float32
        if tensor.datatype != NAMES[info.dtype] and not widen:
            raise Refused("datatype", f"input {info.name}: expected {NAMES[info.dtype]}; found {short(tensor.datatype)}")
        check_shape(info, tensor.shape, served.limits.batch, symbols)
        x = numbers(tensor, DATATYPES[tensor.datatype])
        if widen:
            x = x.astype(np.float32)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise Refused("nonfinite", f"input {info.name}: expected finite values; found NaN or infinity")
    return x


def check_shape(info: TensorInfo, shape: tuple[int, ...], batch: int, symbols: dict[str, int]) -> None:
    """symbols: sizes of symbolic dimensions met so far in this request, filled in. Refused("shape")."""
    fits = len(shape) == len(info.shape)
    for k, (want, found) in enumerate(zip(info.shape, shape, strict=False)):
        bound = batch if k == 0 and not isinstance(want, int) else LARGEST
        fits = fits and 1 <= found <= bound and (not isinstance(want, int) or want == found)
        if isinstance(want, str) and fits:
            fits = symbols.setdefault(want, found) == found
    if not fits or math.prod(shape) > LARGEST:
        raise Refused("shape", f"input {info} (a first dimension that is not fixed: at most {batch}): found {_dims(shape)}")


def numbers(tensor: InputTensor, code: np.dtype[Any]) -> Array:
    """The tensor's data as an array of its shape, aligned and in native order. Refused: size, datatype."""
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, np.ndarray):
        return _converted(tensor, code, count)
    if len(tensor.data) != count * code.itemsize:
        raise Refused("size", f"input {short(tensor.name)}: expected {count * code.itemsize} bytes for {short(tensor.datatype)}"
                              f"{_dims(tensor.shape)}; found {len(tensor.data)}")
    x = np.frombuffer(tensor.data, code).reshape(tensor.shape)
    if code.kind == "b" and x.view(np.uint8).max(initial=0) > 1:
        raise Refused("datatype", f"input {short(tensor.name)}: expected bytes of 0 and 1 for BOOL")
    return x.astype(code.newbyteorder("=")) if not (x.flags.aligned and code.isnative) else x


def _converted(tensor: InputTensor, code: np.dtype[Any], count: int) -> Array:
    """Numbers that came as such (JSON, or the typed fields of protobuf): they must be what the datatype can hold; floats are rounded."""
    x: Array = tensor.data  # type: ignore[assignment]
    if x.size != count:
        raise Refused("size", f"input {short(tensor.name)}: expected {count} elements for shape {_dims(tensor.shape)}; found {x.size}")
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[code.kind]
    if x.dtype.kind not in kinds and x.size:
        raise Refused("datatype", f"input {short(tensor.name)}: expected elements of {short(tensor.datatype)}; found others")
    if code.kind in "iu" and x.size:
        bounds = np.iinfo(code)
        if int(x.min()) < bounds.min or int(x.max()) > bounds.max:
            raise Refused("datatype", f"input {short(tensor.name)}: expected {short(tensor.datatype)}; found values beyond its range")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x.astype(code.newbyteorder("=")).reshape(tensor.shape))


def _encoded(info: TensorInfo, tensor: InputTensor, served: Served, symbols: dict[str, int]) -> Array:
    """Features in an encoding of `edgerun.splits.wire`: UINT8 [bytes] or BYTES [1], with the parameters edgerun_encoding, shape ("1,8,4,4"
    or a list), and scale and zero of int8."""
    p = tensor.parameters
    payload = _payload(tensor)
    shape = _shape_parameter(p, info)
    check_shape(info, shape, served.limits.batch, symbols)
    encoding, scale, zero = p[ENCODING], p.get("scale", 1.0), p.get("zero", 0)
    if isinstance(scale, str):
        scale = _float(scale)
    whole = isinstance(zero, int) and not isinstance(zero, bool)
    if not isinstance(encoding, str) or isinstance(scale, bool) or not isinstance(scale, (int, float)) or not whole:
        raise Refused("encoding", f"input {info.name}: expected edgerun_encoding as text, scale as a number, zero as a whole number")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a scale beyond float32: what comes of it is not finite
            return unpack(Packed(payload, info.dtype.name, shape, encoding, float(scale), zero), info.name)
    except (InputError, OverflowError) as e:
        raise Refused("encoding", short_line(e)) from e


def _payload(tensor: InputTensor) -> bytes:
    data = tensor.data
    if isinstance(data, np.ndarray):
        if tensor.datatype != "UINT8":
            raise Refused("encoding", f"input {short(tensor.name)}: expected encoded features as UINT8, or as BYTES in binary")
        return numbers(tensor, DATATYPES["UINT8"]).tobytes()
    raw = bytes(data)
    if tensor.datatype == "BYTES":
        if math.prod(tensor.shape) != 1 or len(raw) < 4 or int.from_bytes(raw[:4], "little") != len(raw) - 4:
            raise Refused("size", f"input {short(tensor.name)}: expected one element of BYTES with its length in front")
        return raw[4:]
    if tensor.datatype != "UINT8":
        raise Refused("encoding", f"input {short(tensor.name)}: expected encoded features as UINT8 or BYTES")
    if math.prod(tensor.shape) != len(raw):
        raise Refused("size", f"input {short(tensor.name)}: expected {_dims(tensor.shape)} bytes; found {len(raw)}")
    return raw


def _shape_parameter(p: Mapping[str, Any], info: TensorInfo) -> tuple[int, ...]:
    """The parameter `shape`; without it the model's, if fixed but for the first dimension."""
    value = p.get("shape")
    if value is None:
        return tuple(d if isinstance(d, int) else 1 for d in info.shape)
    if isinstance(value, str):
        value = [int(v) if v.strip().isdecimal() and len(v) < 12 else None for v in value.split(",")[:16]]
    if not isinstance(value, list) or len(value) > 16 or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
        raise Refused("encoding", f"input {info.name}: shape: expected whole numbers, as in \"1,64,8,8\"")
    return tuple(value)


def _scores(tensor: InputTensor) -> Array:
    if tensor.datatype != "FP32" or math.prod(tensor.shape) > MOST_SCORES or min(tensor.shape, default=0) < 1:
        raise Refused("input", f"{EXIT_SCORES}: expected FP32, 1 to {MOST_SCORES} elements; found {_dims(tensor.shape)}")
    return _finite(numbers(tensor, DATATYPES["FP32"]).reshape(-1))


def _listed_scores(value: Any) -> Array | None:
    """The parameter: a list of numbers (HTTP) or "0.1,0.9" (gRPC, whose parameters cannot be lists)."""
    if value is None:
        return None
    if isinstance(value, str):
        value = [_float(v) for v in value.split(",")[:MOST_SCORES + 1]]
    legal = isinstance(value, list) and 1 <= len(value) <= MOST_SCORES
    if not legal or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in value):
        raise Refused("parameter", f"{EXIT_SCORES}: expected 1 to {MOST_SCORES} numbers")
    try:
        with np.errstate(over="ignore"):
            return _finite(np.array(value, np.float32))
    except OverflowError as e:
        raise Refused("parameter", f"{EXIT_SCORES}: expected numbers of float32") from e


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _finite(x: Array) -> Array:
    if not np.isfinite(x).all():
        raise Refused("nonfinite", f"{EXIT_SCORES}: expected finite values; found NaN or infinity")
    return x


def _dims(shape: tuple[int, ...]) -> str:
    return short(f"[{', '.join(str(d) if abs(d) < 10**12 else '…' for d in shape[:9])}]")


def short_line(error: Exception) -> str:
    """A message for the sender: one line, at most 300 characters."""
    return " ".join(str(error).split())[:300]
