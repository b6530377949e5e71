"""Certificates and keys together: `edgerun keys tls`, `edgerun serve --client-ca --keys`; and the routes beside inference."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import time

import pytest
from running import DIGITS, sample

from edgerun.splits.envelope import HEADER, seal
from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import Entry, write_ring
from edgerun_tools.cli import main

grpc = pytest.importorskip("grpc", reason="needs the extra serve")
pytest.importorskip("trustme", reason="needs trustme")
from process import Grpc, Http, serving  # noqa: E402

KEY = DeviceKey.generate()
MODEL = hashlib.sha256(DIGITS.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """keys.json, tls/ of ours with cam-1, cam-2 and gateway-7, and other/ of an authority that is not ours."""
    folder = tmp_path_factory.mktemp("tls")
    write_ring(folder / "keys.json", [Entry("cam-1", KEY.public.hex())])
    for name in ("tls", "other"):
        devices = ["--device", "cam-1", "--device", "cam-2", "--device", "gateway-7"]
        assert main(["keys", "tls", "-o", str(folder / name), *devices, "--json"]) == 0
    return folder


def started(folder, *more):
    return serving(f"tail={DIGITS}", "--keys", folder / "keys.json", "--tls-cert", folder / "tls/server.pem",
                   "--tls-key", folder / "tls/server.key", "--client-ca", folder / "tls/ca.pem", *more)


@pytest.fixture(scope="module")
def server(folder):
    with started(folder, "--replay", folder / "bound.db") as server:
        yield server


@pytest.fixture(scope="module")
def behind_gateway(folder):
    with started(folder, "--replay", folder / "gateway.db", "--gateway") as server:
        yield server


def wire_of(kind: str, server, folder, who: str | None, authority: str = "tls"):
    """A client with the certificate of `who`, None for none."""
    pair = None if who is None else (folder / authority / f"{who}.pem", folder / authority / f"{who}.key")
    if kind == "http":
        context = ssl.create_default_context(cafile=folder / "tls/ca.pem")
        if pair:
            context.load_cert_chain(*pair)
        return Http(server, context=context)
    chain, key = (p.read_bytes() for p in pair) if pair else (None, None)
    return Grpc(server, credentials=grpc.ssl_channel_credentials((folder / "tls/ca.pem").read_bytes(), key, chain))


def send(wire, seq: int | None = None):
    body = wire.body(sample(DIGITS), "image")
    sent = time.time_ns() // 10**6
    return wire.send(seal(KEY, "cam-1", 1, time.time_ns() if seq is None else seq, MODEL, sent, body, *wire.place).format(), body)


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize(("who", "reason"), [("cam-1", ""), ("cam-2", "certificate"), ("gateway-7", "certificate")])
def test_the_certificate_has_to_be_that_of_the_device_that_signed(server, folder, kind, who, reason):
    assert send(wire_of(kind, server, folder, who)).reason == reason


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_gateway_brings_messages_of_many(behind_gateway, folder, kind):
    assert send(wire_of(kind, behind_gateway, folder, "gateway-7")).reason == ""


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize(("who", "authority"), [(None, "tls"), ("cam-1", "other")], ids=["no certificate", "of another authority"])
def test_without_a_certificate_of_ours_there_is_no_message(server, folder, kind, who, authority):
    """Signed with the right key: it is not even looked at. No line of the log has a body, and the number stays free."""
    server.wait(lambda: len(server.requests) >= server.sent)
    before, sent, seq = len(server.requests), server.sent, time.time_ns()
    wire = wire_of(kind, server, folder, who, authority)
    try:
        reply = send(wire, seq)
        assert reply.status == "UNAVAILABLE" and reply.reason == ""
    except OSError:
        pass  # TLS ended it
    time.sleep(0.3)
    assert [(e["reason"], e.get("bytes_in", 0)) for e in server.requests[before:]] in ([], [("tls", 0)])
    server.sent = sent + len(server.requests[before:])
    assert send(wire_of(kind, server, folder, "cam-1"), seq).reason == ""


def _outside() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            found = s.getsockname()[0]
        except OSError:
            return None
    return None if found.startswith("127.") else found


def test_other_routes_need_a_message_of_their_own(folder):
    """From outside, without certificates: signed for this route, and once. Health is for everybody."""
    host = _outside()
    if host is None:
        pytest.skip("no address but loopback on this machine")
    with serving(f"tail={DIGITS}", "--keys", folder / "keys.json", "--replay", folder / "outside.db", "--host", host) as server:
        def get(path, header=None):
            connection = http.client.HTTPConnection(host, server.ready["http"], timeout=20)
            try:
                connection.request("GET", path, headers={HEADER: header} if header else {})
                answer = connection.getresponse()
                said = answer.read()
                return answer.status if answer.status == 200 else json.loads(said)["reason"]
            finally:
                connection.close()

        def signed(seq, path="/v2/models/tail", method="GET"):
            return seal(KEY, "cam-1", 1, seq, MODEL, 0, b"", method, path).format()

        assert get("/v2/health/ready") == 200
        assert get("/v2/models/tail") == "envelope_missing"
        assert get("/v2/models/tail", signed(1)) == 200
        assert get("/v2/models/tail", signed(1)) == "replay"
        assert get("/v2/models/tail", signed(2, "/v2")) == "signature"
        assert get("/v2/models/tail", signed(2, method="POST")) == "signature"


@pytest.mark.parametrize("args", [["--replay", "r.db"], ["--max-age", "5"], ["--gateway"], ["--power-safe"]])
def test_options_of_keys_need_keys(args, capsys):
    assert main(["serve", str(DIGITS), "--insecure", *args]) == 2
    assert "--keys" in capsys.readouterr().err


def test_keys_alone_let_a_server_listen_anywhere_and_nothing_does_not(folder, capsys):
    assert main(["serve", str(DIGITS), "--host", "0.0.0.0"]) == 2
    assert "keys" in capsys.readouterr().err
