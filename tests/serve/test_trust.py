"""Who may speak at all: certificates in HTTP and gRPC, loopback, and what a server refuses to start as."""

from __future__ import annotations

import json
import socket
import ssl
import time
from pathlib import Path

import pytest
from running import DIGITS, Running, post, reason_of, received, request_of, running, sample

from edgerun.errors import ModelError, OptionError, Refused
from edgerun.serve import Principal, ServeLimits, Server, TlsFiles
from edgerun.serve.tls import is_loopback

trustme = pytest.importorskip("trustme", reason="needs trustme")
PATH = "/v2/models/digits/infer"


class Certificates:
    """An authority, a server's certificate, a client's, and those of a stranger who calls himself the same."""

    def __init__(self, folder) -> None:
        self.folder = folder
        ours, theirs = trustme.CA(), trustme.CA()
        self.ca = self._write("ca.pem", ours.cert_pem.bytes())
        self.server = self._pair("server", ours.issue_cert("localhost", "127.0.0.1"))
        self.client = self._pair("client", ours.issue_cert("gateway.example", common_name="gateway-7"))
        self.stranger = self._pair("stranger", theirs.issue_cert("gateway.example", common_name="gateway-7"))

    def _pair(self, name: str, cert) -> tuple[str, str]:
        chain = b"".join(b.bytes() for b in cert.cert_chain_pems)
        return self._write(f"{name}.pem", chain), self._write(f"{name}.key", cert.private_key_pem.bytes())

    def _write(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def mutual(certificates):
    tls = TlsFiles(*certificates.server, certificates.ca)
    with running({"digits": DIGITS}, tls=tls, limits=ServeLimits(header_s=1.0)) as server:
        yield server


def context(certificates: Certificates, pair: tuple[str, str] | None) -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=certificates.ca)
    if pair is not None:
        found.load_cert_chain(*pair)
    return found


def spoken(server: Running, certificates: Certificates, pair: tuple[str, str] | None, data: bytes) -> bytes:
    """What comes back over TLS: in TLS 1.3 the client learns of a refusal only when it reads."""
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), 10) as plain:
        try:
            with context(certificates, pair).wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(data)
                return received(tls)
        except (ssl.SSLError, ConnectionError) as e:
            return repr(e).encode()


def infer() -> bytes:
    body = json.dumps(request_of(sample(DIGITS), "image")).encode()
    return f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_http_with_a_certificate(mutual, certificates):
    assert spoken(mutual, certificates, certificates.client, infer()).startswith(b"HTTP/1.1 200 ")
    assert (mutual.events[-1].device, mutual.events[-1].peer) == ("gateway-7", "gateway-7")


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_http_without_a_certificate_of_ours_never_reaches_the_parser(mutual, certificates, who, monkeypatch):
    from edgerun.serve.listener import _Connection

    seen = []
    original = _Connection.receive_data
    monkeypatch.setattr(_Connection, "receive_data", lambda self, data: (seen.append(data), original(self, data))[1])
    before = len(mutual.events)
    answer = spoken(mutual, certificates, None if who == "nobody" else certificates.stranger, infer())
    assert not answer.startswith(b"HTTP/")
    assert seen == []
    mutual.wait_for(lambda: mutual.reasons(before) == ["tls"])
    assert spoken(mutual, certificates, certificates.client, infer()).startswith(b"HTTP/1.1 200 ")
    assert seen, "the parser is not where this test looks"


def test_plain_http_to_a_tls_port(mutual):
    host, _, port = mutual.http.partition(":")
    before = len(mutual.events)
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(infer())
        assert not received(s).startswith(b"HTTP/")
    mutual.wait_for(lambda: mutual.reasons(before) == ["tls"])


def test_half_open_tls_is_closed(mutual):
    """The first bytes of a handshake, and no more."""
    host, _, port = mutual.http.partition(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(b"\x16\x03\x01\x02\x00")
        received(s)
    assert 0.5 < time.monotonic() - began < 5


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(mutual, certificates, version):
    old = context(certificates, certificates.client)
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = version, version
    old.set_ciphers("ALL:@SECLEVEL=0")
    host, _, port = mutual.http.partition(":")
    with socket.create_connection((host, int(port)), 10) as s, pytest.raises(ssl.SSLError):
        old.wrap_socket(s, server_hostname="localhost")


@pytest.mark.parametrize("who", ["client", "nobody", "stranger", "plain"])
def test_grpc(mutual, certificates, who):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    pair = {"client": certificates.client, "stranger": certificates.stranger}.get(who)
    ca, *key_and_chain = (Path(p).read_bytes() for p in (certificates.ca, *((pair[1], pair[0]) if pair else ())))
    credentials = grpc.ssl_channel_credentials(ca, *key_and_chain)
    target = f"localhost:{mutual.server.grpc_port}"
    before = len(mutual.events)
    channel = grpc.insecure_channel(target) if who == "plain" else grpc.secure_channel(target, credentials)
    with channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=3)
    if who == "client":
        assert caught.value.code().name == "NOT_FOUND"  # no model named: the message was read
        mutual.wait_for(lambda: mutual.reasons(before) == ["model_unknown"])
        assert mutual.events[-1].device == "gateway-7"
    else:
        assert caught.value.code().name == "UNAVAILABLE"
        assert mutual.reasons(before) == []


def test_tritonclient_over_mutual_tls(mutual, certificates):
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    grpc = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    cert, key = certificates.client
    options = {"ca_certs": certificates.ca, "certfile": cert, "keyfile": key}
    with http.InferenceServerClient(f"localhost:{mutual.server.http_port}", ssl=True, ssl_options=options) as client:
        assert client.is_model_ready("digits")
    with grpc.InferenceServerClient(f"localhost:{mutual.server.grpc_port}", ssl=True, root_certificates=certificates.ca,
                                    private_key=key, certificate_chain=cert) as client:
        assert client.get_model_metadata("digits").name == "digits"


# -- what does not start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"host": "0.0.0.0"}, {"host": "0.0.0.0", "insecure": True}, {"host": "", "insecure": True},
                                     {"host": "::", "insecure": True}, {"host": "example.invalid", "insecure": True},
                                     {"insecure": True, "metrics_port": 0, "metrics_host": "0.0.0.0"}])
def test_a_server_for_anybody_is_refused(options):
    with pytest.raises(OptionError):
        Server({"digits": DIGITS}, **options)


def test_tls_without_a_client_authority_is_for_anybody(certificates):
    with pytest.raises(OptionError, match="--client-ca"):
        Server({"digits": DIGITS}, tls=TlsFiles(*certificates.server))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("missing", ["cert", "key", "client_ca"])
@pytest.mark.parametrize("interface", ["http_port", "grpc_port"])
def test_certificates_that_are_none(certificates, tmp_path, missing, interface):
    (tmp_path / "text").write_text("no certificate")
    files = dict(zip(("cert", "key", "client_ca"), (*certificates.server, certificates.ca), strict=True))
    files[missing] = str(tmp_path / "text")
    ports = {"http_port": None, "grpc_port": None} | {interface: 0}
    with pytest.raises(OptionError), running({"digits": DIGITS}, tls=TlsFiles(**files), **ports):
        pass


def test_a_file_that_fails_verification_is_not_read(tmp_path):
    seen = []

    def verify(path) -> None:
        seen.append(path)
        raise ModelError("not signed")

    (tmp_path / "model.onnx").write_bytes(b"this is no model, and nobody finds out")
    with pytest.raises(ModelError, match="not signed"):
        Server({"digits": tmp_path / "model.onnx"}, insecure=True, verify=verify)
    assert seen == [tmp_path / "model.onnx"]


def test_a_port_that_is_taken(mutual):
    with pytest.raises(OptionError, match="listen"), running({"digits": DIGITS}, http_port=mutual.server.http_port):
        pass
    with pytest.raises(OptionError, match="listen"), running({"digits": DIGITS}, grpc_port=mutual.server.grpc_port):
        pass


# -- the gate is asked, with what was received ------------------------------------------------------------------------


class Watching:
    """A gate that keeps what it was shown, and lets in those with a header."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    async def admit(self, header, body, method, target, peer) -> Principal:
        self.seen.append((header, bytes(body), method, target, peer))
        if header is None:
            raise Refused("envelope_missing", "expected the header edgerun-envelope")
        return Principal("d1", "0" * 16, 1, len(self.seen), header if len(header) == 64 else None, digest="d")


@pytest.fixture(scope="module")
def gated():
    gate = Watching()
    with running({"digits": DIGITS}, gate=gate) as server:
        yield server, gate


def test_the_gate_sees_the_raw_body_before_it_is_parsed(gated):
    server, gate = gated
    code, _, out = post(server.http, PATH + "?a=b", b"\xff no JSON")
    assert (code, reason_of(out)) == (401, "envelope_missing")
    assert gate.seen[-1] == (None, b"\xff no JSON", "POST", PATH, "")
    assert server.events[-1].device == ""
    code, _, out = post(server.http, PATH, b"\xff no JSON", {"edgerun-envelope": "e"})
    assert (code, reason_of(out)) == (400, "syntax")
    assert server.events[-1].device == "d1"


def test_a_message_for_another_model_file(gated):
    code, _, out = post(gated[0].http, PATH, b"{}", {"edgerun-envelope": "f" * 64})
    assert (code, reason_of(out)) == (409, "model_hash")  # said before the body is parsed


def test_grpc_metadata_reaches_the_gate(gated):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    server, gate = gated
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff", timeout=10)
        assert caught.value.code().name == "UNAUTHENTICATED"
        assert gate.seen[-1] == (None, b"\xff", "GRPC", "/inference.GRPCInferenceService/ModelInfer", "")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff", timeout=10, metadata=[("edgerun-envelope", "e")])
        assert caught.value.code().name == "INVALID_ARGUMENT"
