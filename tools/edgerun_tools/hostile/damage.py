"""Files that are no protobuf, or damaged ones."""

from __future__ import annotations

import numpy as np

from .case import Family, relu
from .models import simple
from .wire import START_GROUP, chunk, number, varint

_of = Family("bytes")


def _valid() -> bytes:
    return simple().SerializeToString()


def _endless_varint() -> bytes:
    return _valid() + varint(15 << 3) + b"\xff" * 11 + b"\x00"


CASES = (
    _of.error("empty", "The file has no bytes.", lambda: b""),
    _of.error("random", "4 KiB of random bytes.", lambda: np.random.default_rng(1).bytes(4096)),
    _of.error("zeros", "4 KiB of zero bytes.", lambda: bytes(4096)),
    _of.error("half", "The second half of the file is missing.", lambda: _valid()[: len(_valid()) // 2]),
    _of.error("one-byte-short", "The last byte is missing.", lambda: _valid()[:-1]),
    _of.error("length-2-gib", "The graph claims to be 2 GiB long; three bytes follow.",
              lambda: number(1, 8) + varint(7 << 3 | 2) + varint((1 << 31) - 1) + b"abc"),
    _of.error("length-2-64", "The graph claims to be 2^64 - 1 bytes long, which a signed length takes for -1.",
              lambda: number(1, 8) + varint(7 << 3 | 2) + varint((1 << 64) - 1) + b"abc"),
    _of.error("html", "A web page that says that the download failed.",
              lambda: b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body></body></html>\n" * 8),
    _of.error("trailing-garbage", "A complete model, then 64 bytes that are no field.", lambda: _valid() + b"\xff" * 64),
    _of.error("endless-varint", "A number of more than ten bytes.", _endless_varint),
    _of.error("field-number-0", "A field with the number 0, which does not exist.", lambda: _valid() + chunk(0, b"abcd")),
    _of.error("groups-in-groups", "An unknown field opens a million groups inside each other.",
              lambda: _valid() + varint(15 << 3 | START_GROUP) * 1_000_000),
    _of.error("wrong-wire-type", "The graph is a number.", lambda: number(1, 8) + number(7, 42) + chunk(8, number(2, 17))),
    _of.either("unknown-field-8-mib", "A field that ONNX does not know, of 8 MiB.",
               lambda: _valid() + chunk(1000, bytes(8 << 20)), relu),
)
