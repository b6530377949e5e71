"""A real Redis for tests, on a socket of its own, without a port; a model for every datatype."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgerun.serve.oip import DATATYPES


class RedisServer:
    """On a socket in the folder. durable: every write is on disk before it is answered; else nothing is kept."""

    def __init__(self, program: str, folder: Path, durable: bool) -> None:
        self.program, self.socket = program, folder / "s"
        self.keep = ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
        self.url = f"unix://{self.socket}"
        self.start()

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        where = ["--unixsocket", str(self.socket), "--dir", str(self.socket.parent)]
        command = [self.program, "--port", "0", "--save", "", *where, *self.keep]
        self.run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self.socket.exists():
            assert self.run.poll() is None and time.monotonic() < until, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        self.run.kill()
        self.run.wait(10)

    def end(self) -> None:
        if self.run.poll() is None:
            self.kill()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's redis-server, started here."""
    pytest.importorskip("redis", reason="needs the extra redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine (apt install redis-server)")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"), durable=False)
    yield server.url
    server.end()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop and kill."""
    pytest.importorskip("redis", reason="needs the extra redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine (apt install redis-server)")
    server = RedisServer(program, tmp_path, durable=True)
    yield server
    server.end()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The same, emptied."""
    import redis

    with redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="module")
def identity_models(tmp_path_factory, model_of) -> dict[str, Path]:
    """For every datatype of the protocol a model that gives its input [1, 3] back: no zoo has all of them."""
    onnx_names = {"BOOL": "BOOL", "FP16": "FLOAT16", "FP32": "FLOAT", "FP64": "DOUBLE"}
    folder, paths = tmp_path_factory.mktemp("types"), {}
    for name in DATATYPES:
        code = getattr(TensorProto, onnx_names.get(name, name))
        paths[name] = folder / f"{name}.onnx"
        model = model_of([helper.make_node("Identity", ["x"], ["y"])], [("x", code, [1, 3])], [("y", code, [1, 3])])
        paths[name].write_bytes(model.SerializeToString())
    return paths
