"""More than a server can do: 429 and 503 at once rather than all late, and then everything as before; shutting down loses nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from running import DIGITS, RESNET, Running, post, reason_of, request_of, running, sample

import edgerun
from edgerun.serve import ModelOptions, ServeLimits

PATH = "/v2/models/resnet/infer"
ONE = ModelOptions(workers=1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return sample(RESNET, "cat.png")


@pytest.fixture(scope="module")
def body(x) -> bytes:
    return json.dumps(request_of(x, "image")).encode()


def post_resnet(server: Running, body: bytes):
    return post(server.http, PATH, body)


def test_a_full_queue_is_503_with_retry_after_and_then_all_is_well(x, body):
    with edgerun.Session(RESNET, checks="standard", threads=1) as session:
        name, want = next(iter(session.run(x).outputs.items()))
    with running({"resnet": RESNET}, options=ONE, limits=ServeLimits(queue=2)) as server:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: post_resnet(server, body), range(48)))
        codes = [a[0] for a in answers]
        assert set(codes) == {200, 503}, codes
        for code, headers, out in answers:
            if code == 503:
                assert int(headers["retry-after"]) >= 1 and reason_of(out) == "overload"
            else:
                found = next(o for o in json.loads(out)["outputs"] if o["name"] == name)
                np.testing.assert_array_equal(np.array(found["data"], np.float32), want.ravel())
        assert sorted({e.outcome for e in server.events}) == ["ok", "rejected"] and len(server.events) == 48
        assert [post_resnet(server, body)[0] for _ in range(3)] == [200] * 3
        assert server.server.core.pool.pending == 0 and server.server.core.messages == 0


def test_refusing_is_quick(body):
    """Reliability notes: rejects within milliseconds. Here: while a run is under way, without waiting for it."""
    with running({"resnet": RESNET}, options=ONE, limits=ServeLimits(queue=1)) as server:
        release = threading.Event()
        held = [server.server.core.pool.run(lambda _: release.wait(20), 20) for _ in range(2)]
        futures = [asyncio.run_coroutine_threadsafe(h, server.loop) for h in held]
        server.wait_for(lambda: server.server.core.pool.pending == 2)
        code, _, _ = post_resnet(server, body)
        assert code == 503 and server.events[-1].latency_ms < 500
        release.set()
        assert all(f.result(20).value for f in futures)
        assert post_resnet(server, body)[0] == 200


def test_a_request_whose_time_is_over_while_it_waits_is_not_run(x, body):
    with running({"resnet": RESNET}, options=ONE) as server:
        release = threading.Event()
        busy = asyncio.run_coroutine_threadsafe(server.server.core.pool.run(lambda _: release.wait(20), 20), server.loop)
        server.wait_for(lambda: server.server.core.pool.pending == 1)
        code, headers, out = post_resnet(server, json.dumps(request_of(x, "image", parameters={"timeout": 100_000})).encode())
        assert (code, reason_of(out)) == (503, "deadline") and "retry-after" in headers
        assert server.events[-1].compute_ms == 0
        release.set()
        busy.result(20)
        assert server.call(_pending(server)) == 0
        assert post_resnet(server, body)[0] == 200


async def _pending(server: Running) -> int:
    await asyncio.sleep(0.1)
    return server.server.core.pool.pending


def test_the_rate_of_a_device_is_429_and_comes_back():
    small = json.dumps(request_of(sample(DIGITS), "image")).encode()
    with running({"digits": DIGITS}, limits=ServeLimits(rate=5, burst=3)) as server:
        answers = [post(server.http, "/v2/models/digits/infer", small) for _ in range(8)]
        codes = [a[0] for a in answers]
        assert codes[:3] == [200] * 3 and 429 in codes
        limited = next(a for a in answers if a[0] == 429)
        assert reason_of(limited[2]) == "rate" and int(limited[1]["retry-after"]) >= 1
        time.sleep(0.7)
        assert post(server.http, "/v2/models/digits/infer", small)[0] == 200


def test_too_many_messages_at_once_are_503(body):
    """Bodies that do not arrive count, too."""
    with running({"resnet": RESNET}, limits=ServeLimits(concurrency=4, body_s=20)) as server:
        host, _, port = server.http.partition(":")
        waiting = []
        for _ in range(4):
            s = socket.create_connection((host, int(port)), 10)
            s.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
            waiting.append(s)
        server.wait_for(lambda: server.server.core.messages == 4)
        code, _, out = post_resnet(server, body)
        assert (code, reason_of(out)) == (503, "overload")
        for s in waiting:
            s.close()
        server.wait_for(lambda: server.server.core.messages == 0)
        assert post_resnet(server, body)[0] == 200


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_accepted_requests_are_answered_while_the_server_shuts_down(x, body, transport):
    """A request is under way when `stop` is called: ready is false, new ones are 503, it gets its answer."""
    with running({"resnet": RESNET}, options=ONE) as server:
        release = threading.Event()
        busy = asyncio.run_coroutine_threadsafe(server.server.core.pool.run(lambda _: release.wait(20), 20), server.loop)
        with ThreadPoolExecutor(2) as pool:
            accepted = pool.submit(_by[transport], server, x, body)
            server.wait_for(lambda: server.server.core.pool.pending == 2)
            stopped = asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop)
            server.wait_for(lambda: server.server.core.draining)
            assert post(server.http, PATH, body)[0] == 503
            release.set()
            assert accepted.result(20) == 200
            assert stopped.result(20) == 0
        busy.result(5)
    assert [e.reason for e in server.events] == ["draining", ""]


def _http(server: Running, x: np.ndarray, body: bytes) -> int:
    return post_resnet(server, body)[0]


def _grpc(server: Running, x: np.ndarray, body: bytes) -> int:
    grpc = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    tensor = grpc.InferInput("image", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    with grpc.InferenceServerClient(server.grpc) as client:
        client.infer("resnet", [tensor])
    return 200


_by = {"http": _http, "grpc": _grpc}


def test_what_is_not_done_in_time_is_cancelled_and_counted(body):
    with running({"resnet": RESNET}, options=ONE) as server:
        release = threading.Event()
        busy = asyncio.run_coroutine_threadsafe(server.server.core.pool.run(lambda _: release.wait(20), 20), server.loop)
        server.wait_for(lambda: server.server.core.pool.pending == 1)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(lambda: post_resnet(server, body)[0])
            server.wait_for(lambda: server.server.core.messages == 1)
            threading.Timer(2.5, release.set).start()
            assert server.call(server.server.stop(0.2)) == 1
            with pytest.raises((OSError, http.client.HTTPException)):  # reset, or closed without an answer
                late.result(20)
        busy.result(5)
    assert [e.reason for e in server.events] == ["draining"]
