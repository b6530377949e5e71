"""A device under test: it signs what it is told, right or wrong, for HTTP or gRPC."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from running import ALEXNET, sample

import edgerun
from edgerun.splits.envelope import Envelope, seal
from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import Entry, write_ring
from edgerun_tools.cli import main

CUT = "/segments.1/segments.1.2/Relu_output_0"
KEY, NEXT, GONE, PAST, STRANGER = (DeviceKey.generate() for _ in range(5))


def prepare(folder: Path) -> Path:
    """parts/ of a real model, keys.json, and a server's settings: answers are forgotten at once, so that a replay is told as one."""
    assert main(["split", str(ALEXNET), "--at", CUT, "-o", str(folder / "parts"), "--json"]) == 0
    write_ring(folder / "keys.json", [Entry("cam-1", KEY.public.hex()), Entry("cam-1", NEXT.public.hex()),
                                      Entry("cam-1", GONE.public.hex(), revoked=1e9), Entry("cam-1", PAST.public.hex(), not_after=1e9)])
    (folder / "serve.toml").write_text("[limits]\nanswer_s = 1e-6\nbody = 150000\n")
    return folder


def features_of(folder: Path):
    """Name and real features: what the head makes of a photograph of a digit."""
    with edgerun.Session(folder / "parts/head.onnx") as head:
        return CUT, head.run(sample(ALEXNET)).outputs[CUT]


class Sender:
    """A device of its own epochs: each test one, later than those before."""

    epoch = 0

    def __init__(self, folder: Path, wire, features) -> None:
        Sender.epoch += 1
        self.wire, self.epoch, self.seq = wire, Sender.epoch, 0
        self.model = hashlib.sha256((folder / "parts/tail.onnx").read_bytes()).hexdigest()
        self.name, self.x = features

    def body(self, **change) -> bytes:
        return self.wire.body(self.x, self.name, **change)

    def seal(self, body: bytes | None = None, seq: int | None = None, key: DeviceKey = KEY, **change) -> Envelope:
        self.seq += 1
        place = change.pop("place", self.wire.place)
        fields = {"device": "cam-1", "epoch": self.epoch, "seq": self.seq if seq is None else seq, "model": self.model,
                  "sent": int(time.time() * 1000)} | change
        return seal(key, **fields, body=self.body() if body is None else body, method=place[0], target=place[1])

    def good(self):
        return self.wire.send(self.seal().format(), self.body())
