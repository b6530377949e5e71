"""External data: tensors whose bytes lie in other files of the model's folder (ONNX External Data Format).

Only keys the format knows, only regular files inside the folder (see `files.open_inside`), only ranges that lie within the
file, exactly as many bytes as the tensor has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import onnx

from edgerun.errors import ModelFormatError
from edgerun.limits import Limits, refuse, short, size

from .files import open_inside
from .tensors import count, nbytes

_KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
_DIGITS = 18
"""Decimal digits of the largest offset: below 2^63, so that no sum wraps around anywhere."""


def load_external(tensors: Iterable[tuple[onnx.TensorProto, str]], folder: Path | None, limits: Limits, budget: int) -> int:
    """Put the external data of every (tensor, where) into the tensor; returns the bytes read. folder None: the model came
    without one. Raises ModelFormatError, LimitError."""
    total = 0
    for tensor, where in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = f"{where}: tensor '{short(tensor.name)}': external data"
        if folder is None:
            raise ModelFormatError(f"{where}: expected a model read from a file, whose folder holds the data; found bytes")
        total += _load(tensor, where, folder, limits, budget - total)
    return total


def _load(tensor: onnx.TensorProto, where: str, folder: Path, limits: Limits, budget: int) -> int:
    entries = {e.key: e.value for e in tensor.external_data}
    unknown = [short(k) for k in entries if k not in _KEYS]
    if unknown or len(entries) != len(tensor.external_data) or "location" not in entries:
        raise ModelFormatError(f"{where}: expected location, offset, length once each, found "
                               f"{', '.join(short(e.key) for e in tensor.external_data) or 'nothing'}")
    need = nbytes(tensor.data_type, count(tensor.dims, where))
    offset, length = _number(entries, "offset", 0, where), _number(entries, "length", need, where)
    if tensor.data_type == onnx.TensorProto.STRING or length != need:
        raise ModelFormatError(f"{where}: expected length {need} for dimensions {list(tensor.dims)}, found {length}")
    if need > budget:
        raise refuse(where, "memory", size(need), size(max(budget, 0)), "max_memory= (--max-memory)")
    handle, held = open_inside(folder, entries["location"], where)
    with os.fdopen(handle, "rb") as file:
        if held > limits.file:
            raise refuse(where, "size of the file", size(held), size(limits.file), "max_file= (--bound file=BYTES)")
        if offset > held or length > held - offset:
            raise ModelFormatError(f"{where}: expected {length} bytes from byte {offset} on, found a file of {held} bytes")
        file.seek(offset)
        data = file.read(length)
    if len(data) != length:
        raise ModelFormatError(f"{where}: expected {length} bytes from byte {offset} on, found {len(data)}")
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return length


def _number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise ModelFormatError(f"{where}: {key}: expected a whole number of bytes, found {text[:40]!r}")
    return int(text)
