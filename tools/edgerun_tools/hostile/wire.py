"""Protobuf's wire format by hand, for files that its library would not write.

Field numbers are those of onnx.proto. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

TYPE_GRAPH, START_GROUP = int(onnx.AttributeProto.GRAPH), 3


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; value >= 0."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def chunk(field: int, payload: bytes | str) -> bytes:
    """A length-delimited field: message, string or bytes."""
    data = payload.encode() if isinstance(payload, str) else payload
    return varint(field << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    """A varint field; negative values as 64-bit two's complement."""
    return varint(field << 3) + varint(value % (1 << 64))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **graphs: bytes) -> bytes:
    """NodeProto whose attributes are graphs."""
    attributes = (chunk(1, name) + chunk(6, body) + number(20, TYPE_GRAPH) for name, body in graphs.items())
    return b"".join([*(chunk(1, name) for name in inputs), *(chunk(2, name) for name in outputs), chunk(4, op),
                     *(chunk(5, attribute) for attribute in attributes)])


def port(name: str, dtype: int, shape: Sequence[int]) -> bytes:
    """ValueInfoProto of a tensor."""
    dims = b"".join(chunk(1, number(1, size)) for size in shape)
    return chunk(1, name) + chunk(2, chunk(1, number(1, dtype) + chunk(2, dims)))


def graph(nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], name: str = "g") -> bytes:
    """GraphProto."""
    return b"".join([*(chunk(1, n) for n in nodes), chunk(2, name), *(chunk(11, i) for i in inputs),
                     *(chunk(12, o) for o in outputs)])


def model(body: bytes, opset: int = 17, ir_version: int = 10) -> bytes:
    """ModelProto around a GraphProto."""
    return number(1, ir_version) + chunk(7, body) + chunk(8, chunk(1, "") + number(2, opset))
