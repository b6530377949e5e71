"""The rules a TensorProto must keep: a known type, sane dimensions, its data in one field, exactly as many bytes as it says.

`onnx.checker` lets several of these pass (two data fields, sizes that wrap around, NaN), so they are checked here first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from edgerun.errors import ModelFormatError, ShapeError
from edgerun.limits import MAX_RANK, short, size

T = onnx.TensorProto
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")
_IN_INT32 = ("INT32", "INT16", "INT8", "UINT16", "UINT8", "BOOL", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ",
             "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2")
_FIELD = {"FLOAT": "float_data", "COMPLEX64": "float_data", "DOUBLE": "double_data", "COMPLEX128": "double_data",
          "INT64": "int64_data", "UINT64": "uint64_data", "UINT32": "uint64_data", "STRING": "string_data",
          **dict.fromkeys(_IN_INT32, "int32_data")}
_BITS = {"FLOAT": 32, "DOUBLE": 64, "COMPLEX64": 64, "COMPLEX128": 128, "INT64": 64, "UINT64": 64, "INT32": 32, "UINT32": 32,
         "INT16": 16, "UINT16": 16, "FLOAT16": 16, "BFLOAT16": 16, "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2,
         "INT2": 2}
_RANGE = {"INT16": (-(1 << 15), (1 << 15) - 1), "INT8": (-128, 127), "BOOL": (0, 1), "INT4": (-128, 255), "INT2": (-128, 255)}
"""Of int32_data by element type, where it is not 0 to 2^bits - 1; packed types hold bytes, which may be signed."""
_NUMPY = {T.FLOAT: "<f4", T.DOUBLE: "<f8", T.FLOAT16: "<f2"}


def count(dims: Sequence[int], where: str) -> int:
    """Elements of a shape, in integers of any size. Raises ShapeError for a negative dimension or too many of them."""
    if len(dims) > MAX_RANK:
        raise ShapeError(f"{where}: expected at most {MAX_RANK} dimensions, found {len(dims)}")
    if any(d < 0 for d in dims):
        raise ShapeError(f"{where}: expected dimensions of 0 or more, found {list(dims)}")
    return math.prod(dims)


def nbytes(kind: int, elements: int) -> int:
    """Bytes of raw data of so many elements; sub-byte types are packed."""
    return -(-elements * _BITS.get(T.DataType.Name(kind), 8) // 8)


def extent_bytes(kind: int, dims: Sequence[int]) -> int:
    """Bytes of a shape with every 0 taken for 1: NumPy cannot hold an empty array of dimensions that would overflow either."""
    return nbytes(kind, math.prod(max(d, 1) for d in dims))


def check_tensor(tensor: onnx.TensorProto, where: str, budget: int, allow_nan: bool) -> int:
    """Checks one tensor whose data is in the model; returns its bytes. Raises ModelFormatError, ShapeError."""
    where = f"{where}: tensor '{short(tensor.name)}'"
    kind = tensor.data_type
    type_name = T.DataType.Name(kind) if kind in T.DataType.values() else ""
    if type_name not in _FIELD:
        raise ModelFormatError(f"{where}: expected an ONNX element type, found number {kind} {type_name}")
    elements = count(tensor.dims, where)
    need = nbytes(kind, elements)
    if extent_bytes(kind, tensor.dims) > budget:
        raise ShapeError(f"{where}: expected at most {size(budget)}, found dimensions {list(tensor.dims)} of {type_name}, "
                         f"{size(extent_bytes(kind, tensor.dims))}; raise it with max_memory= (--max-memory) if you trust the model")
    if tensor.HasField("segment"):
        raise ModelFormatError(f"{where}: expected a whole tensor, found a segment of one, which is not supported")
    filled = [f for f in _FIELDS if (tensor.HasField(f) if f == "raw_data" else len(getattr(tensor, f)))]
    external = tensor.data_location == T.EXTERNAL
    if external:
        if filled:
            raise ModelFormatError(f"{where}: expected data outside the file only, found {', '.join(filled)} too")
        return need
    if len(filled) > 1:
        raise ModelFormatError(f"{where}: expected its data in one field, found {' and '.join(filled)}")
    if not filled:
        if elements:
            raise ModelFormatError(f"{where}: expected {elements} elements for dimensions {list(tensor.dims)}, found none")
        return need
    if filled == ["raw_data"]:
        if kind == T.STRING or len(tensor.raw_data) != need:
            raise ModelFormatError(f"{where}: expected {need} bytes for dimensions {list(tensor.dims)} of {type_name}, found "
                                   f"{len(tensor.raw_data)}")
    else:
        _typed(tensor, where, filled[0], type_name, elements)
    if not allow_nan and _has_nan(tensor, filled[0]):
        raise ModelFormatError(f"{where}: expected numbers, found NaN; a damaged file? nonfinite='allow' "
                               "(--allow-nonfinite) takes it as it is")
    return need


def _typed(tensor: onnx.TensorProto, where: str, field: str, type_name: str, elements: int) -> None:
    if field != _FIELD.get(type_name):
        raise ModelFormatError(f"{where}: expected the data of {type_name} in {_FIELD.get(type_name)}, found it in {field}")
    want = -(-elements * _BITS.get(type_name, 8) // 8) if _BITS.get(type_name, 8) < 8 else elements
    if type_name.startswith("COMPLEX"):
        want = 2 * elements
    values = getattr(tensor, field)
    if len(values) != want:
        raise ModelFormatError(f"{where}: expected {want} values in {field} for dimensions {list(tensor.dims)} of "
                               f"{type_name}, found {len(values)}")
    if field == "int32_data" and type_name != "INT32" and want:
        low, high = _RANGE.get(type_name, (0, 2 ** max(_BITS.get(type_name, 8), 8) - 1))
        numbers = np.asarray(values, np.int64)
        if numbers.min() < low or numbers.max() > high:
            raise ModelFormatError(f"{where}: expected values in [{low}, {high}] for {type_name}, found "
                                   f"{numbers.min()} to {numbers.max()}")


def _has_nan(tensor: onnx.TensorProto, field: str) -> bool:
    if field in ("float_data", "double_data"):
        values = np.asarray(getattr(tensor, field))
    elif field == "raw_data" and tensor.data_type in _NUMPY:
        values = np.frombuffer(tensor.raw_data, _NUMPY[tensor.data_type])
    else:
        return False
    return bool(values.size) and bool(np.isnan(np.min(values)))  # min hands NaN on, and needs no copy
