"""Servers of real models for tests: in a thread with an event loop of its own, so that blocking clients can be used against them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import edgerun
from edgerun.preprocess import Preprocess, read_image

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "models" / "zoo"
DIGITS, ALEXNET, RESNET = (ZOO / n / "model.onnx" for n in ("digits_mlp", "mnist_alexnet", "cifar10_resnet18"))
SAMPLES = ROOT / "models" / "samples"


def sample(model: Path, name: str = "digit_3.png") -> np.ndarray:
    """A real image as the model's input."""
    with edgerun.Session(model) as session:
        info = session.inputs[0]
        recipe = session.preprocess or Preprocess.guess(info.shape)
        return recipe.apply(read_image((SAMPLES / name).read_bytes(), name), info.dtype)


class Running:
    """A server under test, and the events it sent."""

    def __init__(self, server, loop: asyncio.AbstractEventLoop, events: list) -> None:
        self.server, self.loop, self.events = server, loop, events

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.server.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.server.grpc_port}"

    def call(self, coroutine):
        """Run it in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def reasons(self, since: int = 0) -> list[str]:
        return [e.reason for e in self.events[since:]]

    def wait_for(self, condition, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s; events: {self.reasons()}"
            time.sleep(0.01)


@contextmanager
def running(models, **options) -> Iterator[Running]:
    """`edgerun.serve.Server(models, **options)` on free ports, insecure unless options say otherwise."""
    from edgerun.serve import Server

    events: list = []
    options = {"http_port": 0, "grpc_port": 0, "insecure": "tls" not in options and "gate" not in options} | options
    server = Server(models, observers=[events.append], **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Running(server, loop, events)
    running.call(server.start())
    try:
        yield running
    finally:
        running.call(server.stop(2.0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def exchange(address: str, data: bytes, seconds: float = 10.0, close: bool = False) -> bytes:
    """Send bytes over TCP, and all that comes back until the server closes the connection (or the time is over)."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), seconds) as s:
        s.sendall(data)
        if close:
            s.shutdown(socket.SHUT_WR)
        return received(s)


def received(s: socket.socket) -> bytes:
    chunks = []
    try:
        while chunk := s.recv(65536):
            chunks.append(chunk)
    except (TimeoutError, ConnectionResetError):
        pass
    return b"".join(chunks)


def post(address: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """(status, headers by lower-case name, body) of one POST, by Python's own client."""
    import http.client

    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request("POST", path, body, headers or {})
        with connection.getresponse() as answer:
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def request_of(x: np.ndarray, name: str, **extra) -> dict:
    """The JSON of a request with one FP32 input."""
    return {"inputs": [{"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}], **extra}


def reason_of(body: bytes) -> str:
    return json.loads(body)["reason"]
