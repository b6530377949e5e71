"""A server that is full says so before a body is read, keeps the connection, uses up no number, and does not flood its log."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from running import DIGITS, Running, received, request_of, running, sample

from edgerun.serve import Event, JsonLog, ModelOptions, ServeLimits
from edgerun.serve.keygate import KeyGate
from edgerun.serve.stores import open_keys, open_replay
from edgerun.splits.envelope import HEADER, seal
from edgerun.splits.keys import DeviceKey
from edgerun.splits.oip_messages import SERVICE, messages
from edgerun.splits.ring import Entry, write_ring

PATH = "/v2/models/digits/infer"
KEY = DeviceKey.generate()


@pytest.fixture(scope="module")
def body() -> bytes:
    return json.dumps(request_of(sample(DIGITS), "image")).encode()


@contextmanager
def full(server: Running):
    """The one worker and the one place in the queue are taken."""
    release = threading.Event()
    pool = server.server.core.pool
    held = [asyncio.run_coroutine_threadsafe(pool.run(lambda _: release.wait(30), 30), server.loop) for _ in range(2)]
    server.wait_for(lambda: pool.pending == 2)
    try:
        yield
    finally:
        release.set()
        assert all(h.result(20).value for h in held)
        server.wait_for(lambda: pool.pending == 0)


@contextmanager
def serving(**options):
    limits = ServeLimits(queue=1, **options.pop("limits", {}))
    with running({"digits": DIGITS}, options=ModelOptions(workers=1), limits=limits, **options) as found:
        yield found


@contextmanager
def connected(server: Running):
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), 10) as s:
        yield s


def head(length: int, *more: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more, "", ""]).encode()


def _more(s: socket.socket) -> bytes:
    chunk = s.recv(65536)
    assert chunk, "the connection ended"
    return chunk


def trickle(s: socket.socket, seconds: float) -> None:
    """A byte now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s.sendall(b"x")
        time.sleep(0.1)


def answer(s: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer of a connection that is kept."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += _more(s)
    top, _, rest = found.partition(b"\r\n\r\n")
    fields = {k.lower(): v for k, _, v in (line.decode().partition(": ") for line in top.split(b"\r\n")[1:])}
    while len(rest) < int(fields["content-length"]):
        rest += _more(s)
    return int(top.split(b" ")[1]), fields, rest


def test_it_is_told_before_the_body_comes_and_the_connection_is_kept(body):
    with serving() as server, connected(server) as s:
        with full(server):
            for _ in range(3):
                s.sendall(head(len(body)))
                code, fields, said = answer(s)  # nothing of the body was sent yet
                assert (code, json.loads(said)["reason"]) == (503, "overload") and int(fields["retry-after"]) >= 1
                assert "connection" not in fields
                s.sendall(body[:50])
                s.sendall(body[50:])  # read, thrown away, and no message of its own
            assert {e.bytes_in for e in server.events} == {0}
        s.sendall(head(len(body)) + body)
        assert answer(s)[0] == 200
    assert server.reasons() == ["overload"] * 3 + [""]


def test_a_refused_body_cannot_hold_a_connection(body):
    with serving(limits={"header_s": 0.5}) as server, connected(server) as s, full(server):
        s.sendall(head(len(body)))
        assert answer(s)[0] == 503
        began = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):
            trickle(s, 5)
        assert 0.3 < time.monotonic() - began < 3


def test_a_connection_that_is_silent_after_a_refusal_is_closed(body):
    with serving(limits={"idle_s": 1}) as server, connected(server) as s, full(server):
        s.sendall(head(len(body)))
        assert answer(s)[0] == 503
        s.sendall(body)
        began = time.monotonic()
        assert received(s) == b"" and time.monotonic() - began < 5


@pytest.mark.parametrize("more", [["Expect: 100-continue"], ["Transfer-Encoding: chunked"]], ids=["expect", "chunked"])
def test_where_the_end_of_the_body_is_not_known_the_connection_ends(more, body):
    with serving() as server, connected(server) as s, full(server):
        s.sendall(head(len(body), *more))
        code, fields, _ = answer(s)
        assert code == 503 and fields["connection"] == "close" and received(s) == b""


def test_a_body_that_is_long_is_not_read_to_its_end(body):
    with serving(limits={"body": 1 << 20}) as server, connected(server) as s, full(server):
        s.sendall(head(1 << 20))
        code, fields, _ = answer(s)
        assert code == 503 and fields["connection"] == "close"


def test_other_refusals_end_the_connection_as_before():
    with serving() as server, connected(server) as s:
        s.sendall(head(2) + b"{}")
        code, fields, _ = answer(s)
        assert code == 400 and fields["connection"] == "close"


def test_the_rate_of_a_device_keeps_the_connection(body):
    with serving(limits={"rate": 0.01, "burst": 1}) as server, connected(server) as s:
        codes = []
        for _ in range(3):
            s.sendall(head(len(body)) + body)
            codes.append(answer(s)[0])
        assert codes == [200, 429, 429]


@pytest.fixture
def gated(tmp_path):
    write_ring(tmp_path / "keys.json", [Entry("cam-1", KEY.public.hex())])
    with serving(gate=KeyGate(open_keys(tmp_path / "keys.json"), open_replay(tmp_path / "replay.db"))) as server:
        yield server


def sealed(body: bytes, seq: int) -> str:
    sha256 = hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    return f"{HEADER}: {seal(KEY, 'cam-1', 1, seq, sha256, int(time.time() * 1000), body, 'POST', PATH).format()}"


def test_a_number_that_was_told_to_come_later_is_not_used(gated, body):
    with connected(gated) as s:
        envelope = sealed(body, 7)
        with full(gated):
            s.sendall(head(len(body), envelope) + body)
            assert answer(s)[0] == 503
        s.sendall(head(len(body), envelope) + body)
        code, _, said = answer(s)
        assert code == 200 and "repeated" not in json.loads(said)["parameters"]


def test_a_stored_answer_is_given_however_full_it_is(gated, body):
    """It needs no worker: what was computed once is not computed again."""
    with connected(gated) as s:
        envelope = sealed(body, 8)
        s.sendall(head(len(body), envelope) + body)
        first = json.loads(answer(s)[2])
        with full(gated):
            s.sendall(head(len(body), envelope) + body)
            code, _, said = answer(s)
            assert code == 200 and json.loads(said)["parameters"]["repeated"] is True
            assert json.loads(said)["outputs"] == first["outputs"]
        with full(gated):  # one that only claims to be it gets no further than its signature
            forged = envelope[:-4] + ("AAAA" if not envelope.endswith("AAAA") else "BBBB")
            s.sendall(head(len(body), forged) + body)
            assert json.loads(answer(s)[2])["reason"] in ("signature", "overload")


def test_grpc_is_told_before_its_message_is_read(body):
    grpc = pytest.importorskip("grpc", reason="needs the extra serve")
    x = sample(DIGITS)
    m = messages().ModelInferRequest(model_name="digits")
    m.inputs.add(name="image", datatype="FP32", shape=x.shape)
    m.raw_input_contents.append(x.tobytes())
    with serving() as server, grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with full(server), pytest.raises(grpc.RpcError) as refused:
            call(m.SerializeToString(), timeout=20)
        told = dict(refused.value.trailing_metadata())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert told["edgerun-reason"] == "overload" and int(told["retry-after"]) >= 1
        assert (server.events[-1].reason, server.events[-1].bytes_in) == ("overload", 0)
        assert call(m.SerializeToString(), timeout=20)


def lines_of(events: list[Event]) -> list[dict]:
    stream = io.StringIO()
    log = JsonLog(stream, crowd=5)
    for e in events:
        log(e)
    log.say("stopped")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_crowd_of_refusals_is_a_few_lines_and_their_number():
    events = [Event(100.0 + k / 1000, "cam-1", "m", "http", "rejected", "rate" if k % 4 else "overload") for k in range(400)]
    events += [Event(101.5, "cam-1", "m", "http", "ok"), Event(101.6, "cam-1", "m", "http", "rejected", "overload")]
    found = lines_of(events)
    assert [line["event"] for line in found] == ["request"] * 5 + ["omitted", "request", "request", "stopped"]
    assert found[5]["reasons"] == {"overload": 100 - 2, "rate": 300 - 3} and found[5]["time"] == 100


def test_what_is_no_crowd_has_its_line():
    """Whoever forges messages does not drown among others', nor is anything of him left out."""
    events = [Event(100.0, "cam-1", "m", "http", *what) for what in (("ok", ""), ("rejected", "signature"), ("attack", "attack")) * 50]
    found = lines_of(events)
    assert [line.get("reason", "") for line in found[:-1]] == ["", "signature", "attack"] * 50
