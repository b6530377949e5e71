"""`edgerun serve` as a process of its own, and clients that send what they are told, signed or not, by HTTP and gRPC."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from edgerun.splits.envelope import HEADER
from edgerun.splits.oip_messages import messages

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Process:
    """A server that was started by its command; `lines` are those of its log."""

    def __init__(self, *args: object) -> None:
        command = [sys.executable, "-m", "edgerun_tools.cli", "serve", *map(str, args), "--http-port", "0", "--grpc-port", "0",
                   "--metrics-port", "0"]
        self.run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        self.lines: list[dict[str, Any]] = []
        self.other: list[str] = []
        self.sent = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.ready = self.wait(lambda: next((x for x in self.lines if x["event"] == "ready"), None), 60)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.run.stderr is not None
        for line in self.run.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other.append(line)

    def wait(self, found, seconds: float = 10.0):
        """What `found` returns once that is something."""
        end = time.monotonic() + seconds
        while not (value := found()):
            assert self.run.poll() is None, f"the server ended: {''.join(self.other)}"
            assert time.monotonic() < end, f"not within {seconds} s: {self.lines[-3:]} {''.join(self.other)}"
            time.sleep(0.005)
        return value

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [x for x in self.lines if x["event"] == "request"]

    def all_requests(self) -> list[dict[str, Any]]:
        """Those of all messages that were sent: each is one line."""
        self.wait(lambda: len(self.requests) >= self.sent)
        assert len(self.requests) == self.sent
        return self.requests

    def metrics(self) -> dict[str, float]:
        """/metrics, read as Prometheus reads it: name and labels -> value."""
        from prometheus_client.parser import text_string_to_metric_families

        connection = http.client.HTTPConnection("localhost", self.ready["metrics"], timeout=20)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, text
        return {s.name + "".join(f" {k}={v}" for k, v in sorted(s.labels.items())): s.value
                for family in text_string_to_metric_families(text) for s in family.samples}

    def end(self, number: int = signal.SIGTERM) -> int:
        self.run.send_signal(number)
        code = self.run.wait(30)
        self._reader.join(10)
        assert self.run.stderr is not None
        self.run.stderr.close()
        return code


@contextmanager
def serving(*args: object) -> Iterator[Process]:
    server = Process(*args)
    try:
        yield server
    finally:
        if server.run.poll() is None:
            server.end()


@dataclass
class Reply:
    """status: of HTTP, or the name of the gRPC code; reason: "" where it was answered."""

    status: int | str
    reason: str
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class Http:
    """One connection a message. method and target: what is signed."""

    def __init__(self, server: Process, model: str = "tail", context: ssl.SSLContext | None = None) -> None:
        self.server, self.context, self.place = server, context, ("POST", f"/v2/models/{model}/infer")

    @staticmethod
    def body(x: np.ndarray, name: str, **change: Any) -> bytes:
        tensor = {"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()} | change
        return json.dumps({"inputs": [tensor]}).encode()

    def send(self, header: str | None, body: bytes, **headers: str) -> Reply:
        kind: Any = http.client.HTTPSConnection if self.context else http.client.HTTPConnection
        connection = kind("localhost", self.server.ready["http"], timeout=20, **({"context": self.context} if self.context else {}))
        try:
            connection.request("POST", self.place[1], body, ({HEADER: header} if header is not None else {}) | headers)
            self.server.sent += 1
            answer = connection.getresponse()
            said = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            return Reply(answer.status, said["reason"])
        outputs = {o["name"]: np.array(o["data"], np.float32).reshape(o["shape"]) for o in said["outputs"]}
        return Reply(200, "", outputs, said.get("parameters", {}))


class Grpc:
    """The same by gRPC."""

    place = ("GRPC", INFER)

    def __init__(self, server: Process, model: str = "tail", credentials: grpc.ChannelCredentials | None = None) -> None:
        self.server, self.model, self.credentials = server, model, credentials

    def body(self, x: np.ndarray, name: str, **change: Any) -> bytes:
        m = messages().ModelInferRequest(model_name=self.model)
        tensor = m.inputs.add(name=name, datatype=change.get("datatype", "FP32"))
        tensor.shape.extend(change.get("shape", x.shape))
        m.raw_input_contents.append(np.asarray(change.get("data", x), np.float32).tobytes())
        return bytes(m.SerializeToString())

    def send(self, header: str | None, body: bytes) -> Reply:
        at = f"localhost:{self.server.ready['grpc']}"
        with (grpc.secure_channel(at, self.credentials) if self.credentials else grpc.insecure_channel(at)) as channel:
            call = channel.unary_unary(INFER)
            self.server.sent += 1
            try:
                said = call(body, timeout=20, metadata=[(HEADER, header)] if header is not None else [])
            except grpc.RpcError as e:
                trailing = dict(e.trailing_metadata() or ())  # type: ignore[attr-defined]
                return Reply(e.code().name, trailing.get("edgerun-reason", ""))  # type: ignore[attr-defined]
        m = messages().ModelInferResponse()
        m.ParseFromString(said)
        pairs = zip(m.outputs, m.raw_output_contents, strict=True)
        outputs = {o.name: np.frombuffer(raw, np.float32).reshape(tuple(o.shape)) for o, raw in pairs}
        return Reply("OK", "", outputs, {k: getattr(v, v.WhichOneof("parameter_choice")) for k, v in m.parameters.items()})




