"""A browser on this machine that was led here by a name of somebody else's (DNS rebinding) reads nothing; programs notice nothing."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from running import DIGITS, exchange, post, reason_of, request_of, running, sample

from edgerun.errors import OptionError
from edgerun.serve import Server

INFER = "/v2/models/digits/infer"
PAGES = ("/", "/metrics", "/edgerun/v1/status", "/v2", "/v2/models/digits", "/v2/health/live", "/v2/openapi.json")


@pytest.fixture(scope="module")
def server():
    with running({"digits": DIGITS}, metrics_port=0) as found:
        yield found


@pytest.fixture(scope="module")
def named():
    with running({"digits": DIGITS}, allowed_hosts=("plant.example", "Edge.LAN"), metrics_port=0) as found:
        yield found


def asked(address: str, path: str, host: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    name, _, port = address.partition(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=20)
    try:
        connection.request(method, path, body, {"Host": host})
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


STRANGE = ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "169.254.1.1",
           "[2001:db8::1]", "plant.example", "localhost:8000, evil.example", "", "localhost:", "[::1", "::1", "a" * 300, "0")
OURS = ("localhost", "localhost:8000", "LocalHost:1", "127.0.0.1", "127.0.0.1:9", "127.8.8.8", "[::1]", "[::1]:8000", "localhost.")


@pytest.mark.parametrize("host", STRANGE)
@pytest.mark.parametrize("path", PAGES)
def test_another_name_is_refused_everywhere(server, host, path):
    code, said = asked(server.http, path, host)
    assert code == 421 and reason_of(said) == "host" and b"digits" not in said


@pytest.mark.parametrize("host", STRANGE)
def test_and_nothing_is_computed_for_it(server, host):
    body = json.dumps(request_of(sample(DIGITS), "image")).encode()
    since = len(server.events)
    assert asked(server.http, INFER, host, "POST", body)[0] == 421
    assert [(e.outcome, e.reason, e.compute_ms) for e in server.events[since:]] == [("rejected", "host", 0.0)]


@pytest.mark.parametrize("host", OURS)
def test_this_machine_s_names_are_answered(server, host):
    assert [asked(server.http, path, host)[0] for path in PAGES] == [200] * len(PAGES)
    assert asked(server.http, INFER, host, "POST", json.dumps(request_of(sample(DIGITS), "image")).encode())[0] == 200


def test_a_client_without_the_field_is_no_browser(server):
    assert exchange(server.http, b"GET /v2/health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_two_fields_are_none(server):
    answer = exchange(server.http, b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ")[1] in (b"400", b"421")


def test_the_port_of_the_metrics_looks_as_well(server):
    address = f"127.0.0.1:{server.server.metrics_port}"
    assert asked(address, "/metrics", "evil.example")[0] == 421
    code, text = asked(address, "/metrics", "localhost")
    counted = next(line for line in text.decode().splitlines() if line.startswith('edgerun_rejected_total{reason="host"}'))
    assert code == 200 and float(counted.split()[-1]) == server.reasons().count("host") > 0


@pytest.mark.parametrize(("host", "code"), [("plant.example", 200), ("PLANT.example:443", 200), ("edge.lan", 200), ("localhost", 200),
                                            ("other.example", 421)])
def test_names_can_be_allowed(named, host, code):
    assert asked(named.http, "/v2", host)[0] == code


def test_any_name_can_be_allowed():
    with running({"digits": DIGITS}, allowed_hosts=("*",), grpc_port=None) as server:
        assert asked(server.http, "/v2", "evil.example")[0] == 200


@pytest.mark.parametrize("name", ["http://plant.example", "plant.example:443", "a b", "", "a/b"])
def test_what_is_no_name_is_told_at_once(name):
    with pytest.raises(OptionError, match="allowed host"):
        Server({"digits": DIGITS}, insecure=True, allowed_hosts=[name])


def test_an_application_that_mounts_ours_looks_by_itself():
    """Its names are its affair."""
    import asyncio

    httpx = pytest.importorskip("httpx", reason="needs httpx")

    async def ask() -> int:
        async with Server({"digits": DIGITS}, http_port=None, grpc_port=None) as server:
            transport = httpx.ASGITransport(app=server.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://plant.example") as client:
                return (await client.get("/v2")).status_code

    assert asyncio.run(ask()) == 200


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tritonclient_notices_nothing(server, kind, host):
    triton = pytest.importorskip(f"tritonclient.{kind}", reason="needs tritonclient[all]")
    x = triton.InferInput("image", [1, 1, 8, 8], "FP32")
    x.set_data_from_numpy(sample(DIGITS))
    address = getattr(server, kind).replace("127.0.0.1", host)
    client = triton.InferenceServerClient(address)
    try:
        assert client.is_server_live() and client.is_model_ready("digits")
        assert np.isfinite(client.infer("digits", [x]).as_numpy(server.server.models.find("digits").outputs[0].name)).all()
    finally:
        client.close()


def test_grpc_has_no_browsers(server):
    """Its :authority is not looked at."""
    grpc = pytest.importorskip("grpc", reason="needs the extra serve")
    from edgerun.splits.oip_messages import SERVICE, messages

    with grpc.insecure_channel(server.grpc, options=[("grpc.default_authority", "evil.example")]) as channel:
        said = channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=20)
    assert messages().ServerLiveResponse.FromString(said).live


def test_a_page_in_a_browser_by_its_own_name(server):
    with urllib.request.urlopen(f"http://localhost:{server.server.http_port}/edgerun/v1/status", timeout=20) as answer:
        assert json.load(answer)["schema"] == "edgerun.status/1"
    with pytest.raises(urllib.error.HTTPError, match="421"):
        urllib.request.urlopen(urllib.request.Request(f"http://{server.http}/", headers={"Host": "evil.example"}), timeout=20)


def test_a_refused_body_does_not_become_a_request(server):
    """What is left of it is not read as the next message."""
    smuggled = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    code, _, _ = post(server.http, INFER, smuggled, {"Host": "evil.example"})
    assert code == 421
