"""A real Redis for tests, on a socket of its own, without a port."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's redis-server, started here."""
    pytest.importorskip("redis", reason="needs the extra redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine (apt install redis-server)")
    socket = tmp_path_factory.mktemp("redis") / "s"
    run = subprocess.Popen([program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent)],
                           stdout=subprocess.DEVNULL)
    _wait_for(socket, run)
    yield f"unix://{socket}"
    run.terminate()
    run.wait(10)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The same, emptied."""
    import redis

    with redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


def _wait_for(socket: Path, run: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while not socket.exists():
        assert run.poll() is None and time.monotonic() < until, "redis-server did not start"
        time.sleep(0.02)
