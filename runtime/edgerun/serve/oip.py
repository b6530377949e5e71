"""The Open Inference Protocol v2 as plain values, the same for HTTP and gRPC: what a request asks and what an answer says.

Specification: github.com/kserve/open-inference-protocol; binary tensors: Triton's extension. Tensor contents are little-endian and in
row-major order; an element of BYTES has a 4-byte length in front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}
"""Datatype → type of an element. BYTES is not in it: only features travel as bytes, see `features`."""
NAMES = {d.newbyteorder("="): name for name, d in DATATYPES.items()}
"""NumPy's type → datatype."""
Parameters = Mapping[str, Any]
"""bool, int, float or str by name."""


@dataclass(frozen=True)
class InputTensor:
    """data: an array of the shape where the values came as numbers; bytes where they came as such, not looked at yet."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Array | memoryview | bytes
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class OutputWish:
    """An output asked for; parameters: binary_data (HTTP)."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class InferRequest:
    """outputs: empty means all. parameters: timeout (microseconds, as Triton), exit_scores, priority and others that are not looked at."""

    model: str
    version: str
    inputs: tuple[InputTensor, ...]
    outputs: tuple[OutputWish, ...] = ()
    id: str = ""
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class OutputTensor:
    """data: an array whose type is in `NAMES`."""

    name: str
    data: Array
    parameters: Parameters = field(default_factory=dict)

    @property
    def datatype(self) -> str:
        return NAMES[self.data.dtype.newbyteorder("=")]


@dataclass(frozen=True)
class InferResponse:
    """parameters: exit, difficulty, findings, attack_score, attack_threshold, attack, latency_ms, queue_ms, repeated: those that apply."""

    model: str
    version: str
    outputs: tuple[OutputTensor, ...]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
