"""A look at a protobuf file before it is parsed: how many nodes, fields and levels of nesting there are.

Parsing needs many times the bytes of a file made of empty messages, and its own limit on nesting says nothing about what is
wrong. This scan keeps a stack of its own, needs constant memory, and stops at the first limit.
Source: protobuf encoding (varints, wire types), field numbers from onnx's own descriptors.
"""

from __future__ import annotations

import functools

import onnx
from google.protobuf.descriptor import Descriptor

from edgerun.errors import ModelFormatError
from edgerun.limits import Limits, refuse, size

MAX_FIELDS = 1_000_000
"""Fields of all messages together. A field of a real model holds a name, a number or a whole tensor."""
MESSAGE_BYTES = 400
"""What a message takes once it is parsed, however short it was."""
MAX_NESTING = 100
"""Messages within messages; protobuf's own parser stops here."""
_FIXED = {1: 8, 5: 4}
_VARINT, _LENGTH = 0, 2


def scan(data: bytes, name: str, limits: Limits) -> None:
    """Raises ModelFormatError for bytes that are no protobuf message of ModelProto's structure, LimitError beyond limits."""
    children = _children()
    fields = nodes = messages = pos = 0
    most = limits.budget(len(data)) // 2 // MESSAGE_BYTES
    stack = [(len(data), "onnx.ModelProto", 0)]
    while stack:
        end, message, graphs = stack[-1]
        if pos == end:
            stack.pop()
            continue
        fields += 1
        if fields > MAX_FIELDS:
            raise ModelFormatError(f"{name}: expected an ONNX model, found more fields than a model has (over {MAX_FIELDS})")
        tag = data[pos]
        pos += 1
        if tag > 127:
            tag, pos = _varint(data, pos - 1, end, name)
        kind = tag & 7
        if kind == _VARINT:
            _, pos = _varint(data, pos, end, name)
            continue
        if kind == _LENGTH:
            length, pos = (data[pos], pos + 1) if pos < end and data[pos] < 128 else _varint(data, pos, end, name)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise _damaged(name, pos, f"wire type {kind}")
        if length > end - pos:
            raise _damaged(name, pos, f"a field of {length} bytes where {end - pos} are left")
        child = children.get((message, tag >> 3)) if kind == _LENGTH else None
        if child is None:
            pos += length
            continue
        nodes += child == "onnx.NodeProto"
        messages += 1
        depth = graphs + (child == "onnx.GraphProto")
        stack.append((pos + length, child, depth))
        if nodes > limits.nodes:
            raise refuse(name, "number of nodes", f"more than {limits.nodes}", limits.nodes, "max_nodes= (--bound nodes=N)")
        if messages > most:
            raise refuse(name, "messages in the file", f"more than {most}", f"{most} in {size(limits.budget(len(data)))}",
                         "max_memory= (--max-memory)")
        if depth > limits.depth + 1:
            raise refuse(name, "graphs within graphs", depth - 1, limits.depth, "max_depth= (--bound depth=N)")
        if len(stack) > MAX_NESTING:
            raise ModelFormatError(f"{name}: expected an ONNX model, found more messages within messages than a model has "
                                   f"(over {MAX_NESTING})")


def _varint(data: bytes, pos: int, end: int, name: str) -> tuple[int, int]:
    value = shift = 0
    while pos < end and shift < 64:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
    raise _damaged(name, pos, "a number that does not end")


def _damaged(name: str, pos: int, found: str) -> ModelFormatError:
    return ModelFormatError(f"{name}: not an ONNX model, or damaged: byte {pos}: {found}")


@functools.cache
def _children() -> dict[tuple[str, int], str]:
    """(message, field number) → message type of that field, for everything below ModelProto."""
    found: dict[tuple[str, int], str] = {}
    todo: list[Descriptor] = [onnx.ModelProto.DESCRIPTOR]
    seen: set[str] = set()
    while todo:
        message = todo.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                found[message.full_name, field.number] = field.message_type.full_name
                todo.append(field.message_type)
    return found
