"""What strangers may send: each message is refused with its own reason before the model runs, is counted once, and the server goes on."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
from running import DIGITS, Running, exchange, post, received, request_of, running, sample

from edgerun.serve import ServeLimits
from edgerun.serve.status import of
from edgerun.splits.oip_messages import messages

PATH = "/v2/models/digits/infer"
LIMITS = ServeLimits(header_s=1.0, body_s=1.0, connections=40)


@pytest.fixture(scope="module")
def server():
    with running({"digits": DIGITS}, limits=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def good() -> dict:
    return request_of(sample(DIGITS), "image")


def still_works(server: Running, good: dict) -> None:
    assert post(server.http, PATH, json.dumps(good).encode())[0] == 200


def changed(good: dict, **fields) -> dict:
    """The good request with other fields of its input."""
    return {"inputs": [good["inputs"][0] | fields]}


def tensor(**fields) -> dict:
    return {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0] * 64} | fields


def text_of(case) -> bytes:
    return case if isinstance(case, bytes) else json.dumps(case).encode()


JSON = {
    "nothing": ("syntax", b""),
    "no JSON": ("syntax", b"{"),
    "no object": ("syntax", []),
    "a number": ("syntax", 3),
    "no inputs": ("syntax", {}),
    "inputs no list": ("syntax", {"inputs": {"image": 1}}),
    "no input at all": ("input", {"inputs": []}),
    "an input that is none": ("syntax", {"inputs": [3]}),
    "an unknown key": ("syntax", {"inputs": [tensor()], "input": []}),
    "an unknown key of an input": ("syntax", {"inputs": [tensor(dtype="FP32")]}),
    "a key twice": ("syntax", b'{"inputs": [], "inputs": []}'),
    "a key twice within": ("syntax", b'{"inputs": [{"name": "image", "name": "image"}]}'),
    "NaN": ("syntax", b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [NaN]}]}'),
    "Infinity": ("syntax", b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [-Infinity]}]}'),
    "too large for a float": ("nonfinite", {"inputs": [tensor(data=[1e300] * 64)]}),
    "1e999": ("nonfinite", b'{"inputs": [{"name": "image", "shape": [1,1,8,8], "datatype": "FP32", "data": [' + b"1e999," * 63 + b"0]}]}"),
    "a number of 5000 digits": ("syntax", b'{"inputs": [{"name": "image", "shape": [' + b"9" * 5000 + b"]}]}"),
    "deep nesting": ("syntax", b"[" * 3000 + b"]" * 3000),
    "deep nesting of objects": ("syntax", b'{"a":' * 33 + b"1" + b"}" * 33),
    "deep nesting behind a string": ("syntax", b'["\\"]", ' + b"[" * 40 + b"]" * 40 + b"]"),
    "no UTF-8": ("syntax", b'{"id": "\xff\xfe", "inputs": []}'),
    "UTF-16": ("syntax", '{"inputs": []}'.encode("utf-16")),
    "a null byte": ("syntax", b'{"inputs": []}\0'),
    "two documents": ("syntax", b'{"inputs": []}{"inputs": []}'),
    "a name that is a number": ("syntax", {"inputs": [tensor(name=3)]}),
    "a half of a surrogate": ("input", b'{"inputs": [{"name": "\\ud800", "shape": [1], "datatype": "FP32", "data": [1]}]}'),
    "a long id": ("syntax", {"id": "x" * 300, "inputs": []}),
    "an input twice": ("input", {"inputs": [tensor(), tensor()]}),
    "an input too many": ("input", {"inputs": [tensor(), tensor(name="other")]}),
    "another name": ("input", {"inputs": [tensor(name="picture")]}),
    "another datatype": ("datatype", {"inputs": [tensor(datatype="INT8")]}),
    "no datatype of the protocol": ("datatype", {"inputs": [tensor(datatype="float32")]}),
    "strings": ("datatype", {"inputs": [tensor(data=["a"] * 64)]}),
    "objects": ("datatype", {"inputs": [tensor(data=[{}] * 64)]}),
    "true": ("datatype", {"inputs": [tensor(data=[True] * 64)]}),
    "nested lists of unequal length": ("size", {"inputs": [tensor(data=[[1], [1, 2]])]}),
    "an element too few": ("size", {"inputs": [tensor(data=[0] * 63)]}),
    "an element too many": ("size", {"inputs": [tensor(data=[0] * 65)]}),
    "no data": ("syntax", {"inputs": [{k: v for k, v in tensor().items() if k != "data"}]}),
    "another shape": ("shape", {"inputs": [tensor(shape=[1, 1, 4, 16])]}),
    "another rank": ("shape", {"inputs": [tensor(shape=[64])]}),
    "rank 0": ("shape", {"inputs": [tensor(shape=[])]}),
    "a batch of 0": ("shape", {"inputs": [tensor(shape=[0, 1, 8, 8], data=[])]}),
    "a negative dimension": ("shape", {"inputs": [tensor(shape=[-1, 1, 8, 8])]}),
    "two negative dimensions": ("shape", {"inputs": [tensor(shape=[-1, -1, 8, 8])]}),
    "a batch of 2^63": ("shape", {"inputs": [tensor(shape=[2**63, 1, 8, 8])]}),
    "a product that overflows": ("shape", {"inputs": [tensor(shape=[2**32, 2**32, 8, 8])]}),
    "a dimension that is a float": ("shape", {"inputs": [tensor(shape=[1.0, 1, 8, 8])]}),
    "a dimension that is true": ("shape", {"inputs": [tensor(shape=[True, 1, 8, 8])]}),
    "a hundred dimensions": ("syntax", {"inputs": [tensor(shape=[1] * 100)]}),
    "unknown output": ("output", {"inputs": [tensor()], "outputs": [{"name": "nothing"}]}),
    "an output twice": ("output", {"inputs": [tensor()], "outputs": [{"name": "final"}] * 2}),
    "250 outputs": ("output", {"inputs": [tensor()], "outputs": [{"name": "final"}] * 250}),
    "300 outputs": ("syntax", {"inputs": [tensor()], "outputs": [{"name": "final"}] * 300}),
    "classification": ("parameter", {"inputs": [tensor()], "outputs": [{"name": "final", "parameters": {"classification": 10**9}}]}),
    "parameters no object": ("parameter", {"inputs": [tensor()], "parameters": 3}),
    "a parameter that is an object": ("parameter", {"inputs": [tensor()], "parameters": {"a": {}}}),
    "100 parameters": ("parameter", {"inputs": [tensor()], "parameters": {str(k): 1 for k in range(100)}}),
    "a negative timeout": ("parameter", {"inputs": [tensor()], "parameters": {"timeout": -1}}),
    "a timeout that is text": ("parameter", {"inputs": [tensor()], "parameters": {"timeout": "soon"}}),
    "binary data that is not there": ("size", {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32",
                                                           "parameters": {"binary_data_size": 256}}]}),
    "binary data of negative size": ("size", {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32",
                                                          "parameters": {"binary_data_size": -1}}]}),
    "exit scores that are text": ("parameter", {"inputs": [tensor()], "parameters": {"exit_scores": "a,b"}}),
    "exit scores with infinity": ("nonfinite", {"inputs": [tensor()], "parameters": {"exit_scores": "1,inf"}}),
    "an encoding that is none": ("encoding", {"inputs": [tensor(datatype="UINT8", parameters={"edgerun_encoding": "zip"})]}),
    "an encoding with NaN as scale": ("encoding", {"inputs": [tensor(datatype="UINT8", shape=[64], parameters={
        "edgerun_encoding": "int8", "scale": "nan", "zero": 0, "shape": [1, 1, 8, 8]})]}),
    "an encoding whose bytes do not fit": ("encoding", {"inputs": [tensor(datatype="UINT8", shape=[64], parameters={
        "edgerun_encoding": "fp32", "shape": "1,1,8,8"})]}),
    "an encoding with another shape": ("shape", {"inputs": [tensor(datatype="UINT8", shape=[64], parameters={
        "edgerun_encoding": "int8", "shape": "1,1,64,1"})]}),
}


@pytest.mark.parametrize("case", JSON)
def test_json(server, good, case):
    reason, body = JSON[case]
    before = len(server.events)
    code, headers, out = post(server.http, PATH, text_of(body))
    assert (code, json.loads(out)["reason"]) == (of(reason).http, reason), out
    assert headers["content-type"] == "application/json"
    assert [(e.outcome, e.reason, e.compute_ms) for e in server.events[before:]] == [("rejected", reason, 0.0)]
    still_works(server, good)


def binary(size: object, tail: bytes, length: object = None, **fields) -> tuple[bytes, dict[str, str]]:
    entry = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": size}} | fields
    head = json.dumps({"inputs": [entry]}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head) if length is None else length)}


BINARY = {
    "a byte too few": ("size", binary(255, bytes(255))),
    "bytes behind the last tensor": ("size", binary(256, bytes(257))),
    "more than there is": ("size", binary(10**12, bytes(256))),
    "true as a size": ("size", binary(True, bytes(1))),
    "a header longer than the body": ("size", binary(256, bytes(256), 10**6)),
    "a header in the midst of the JSON": ("syntax", binary(256, bytes(256), 10)),
    "a negative header": ("bad_http", binary(256, bytes(256), -1)),
    "a header that is text": ("bad_http", binary(256, bytes(256), "many")),
    "halves as floats": ("size", binary(128, np.zeros(64, np.float16).tobytes())),
    "NaN": ("nonfinite", binary(256, np.full(64, np.nan, np.float32).tobytes())),
    "BYTES": ("datatype", binary(256, bytes(256), datatype="BYTES")),
    "data twice": ("size", binary(256, bytes(256), data=[0] * 64)),
}


@pytest.mark.parametrize("case", BINARY)
def test_binary(server, good, case):
    reason, (body, headers) = BINARY[case]
    before = len(server.events)
    code, _, out = post(server.http, PATH, body, headers)
    assert (code, json.loads(out)["reason"]) == (of(reason).http, reason), out
    assert server.reasons(before) == [reason]
    still_works(server, good)


# -- HTTP itself ------------------------------------------------------------------------------------------------------

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n".encode()
RAW = {
    "no HTTP": ("bad_http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "two lengths": ("bad_http", HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a list of two lengths": ("bad_http", HEAD + b"Content-Length: 2, 3\r\n\r\n{}"),
    "a negative length": ("bad_http", HEAD + b"Content-Length: -2\r\n\r\n{}"),
    "a length with a sign": ("bad_http", HEAD + b"Content-Length: +2\r\n\r\n{}"),
    "an unknown transfer encoding": ("bad_http", HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}"),
    "chunks whose size is no number": ("bad_http", HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"),
    "a space in a field's name": ("bad_http", HEAD + b"Content-Length : 2\r\n\r\n{}"),
    "no host": ("bad_http", f"POST {PATH} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode()),
    "one long field": ("headers_too_large", HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n"),
    "many fields": ("headers_too_large", HEAD + b"".join(b"X%d: a\r\n" % k for k in range(80)) + b"Content-Length: 2\r\n\r\n{}"),
    "compressed": ("media", HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "a length beyond the limit": ("too_large", HEAD + b"Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"),
    "a length of 20 digits": ("too_large", HEAD + b"Content-Length: 99999999999999999999\r\nExpect: 100-continue\r\n\r\n"),
    "the body ends early": ("bad_http", HEAD + b"Content-Length: 50\r\n\r\n{}"),
    "chunks beyond the limit": ("too_large", HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"2000\r\n" + b" " * 0x2000 + b"\r\n"
                                + (b"2000\r\n" + b" " * 0x2000 + b"\r\n") * 4 + b"0\r\n\r\n"),
}


@pytest.mark.parametrize("case", RAW)
def test_http(server, good, case):
    reason, data = RAW[case]
    before = len(server.events)
    answer = exchange(server.http, data, close=case == "the body ends early")
    server.wait_for(lambda: len(server.events) > before)
    if case != "the body ends early":
        assert answer.startswith(b"HTTP/1.1 %d " % of(reason).http), answer[:200]
    assert server.reasons(before) == [reason]
    still_works(server, good)


def test_chunked_and_length_together_are_read_as_chunked_once(server):
    """RFC 9112 6.3: the length is ignored and the connection closed; so the rest is no second request."""
    before = len(server.events)
    answer = exchange(server.http, HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                                          b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert server.reasons(before) == ["syntax"]


def test_chunked_bodies_are_served(server, good):
    body = json.dumps(good).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[k:k + 50] for k in range(0, len(body), 50)))
    answer = exchange(server.http, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(server, good):
    body = json.dumps(good).encode()
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert exchange(server.http, one * 3 + last).count(b"HTTP/1.1 200 ") == 4


def test_a_websocket_is_not_opened(server):
    answer = exchange(server.http, b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n"
                                   b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and b"upgrade" not in answer.lower()


# -- slow and idle peers ----------------------------------------------------------------------------------------------


def trickled(server: Running, data: bytes, every: float) -> tuple[bytes, float]:
    """Send a byte every so often until the server has enough; its answer and the time that took."""
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), 10) as s:
        began = time.monotonic()
        s.settimeout(every)
        for k in range(len(data)):
            try:
                s.send(data[k:k + 1])
                answer = s.recv(65536)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                answer = b""
            return answer, time.monotonic() - began
        raise AssertionError("the server waited for all of it")


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_peer_that_sends_slowly_is_cut_off(server, good, what):
    before = len(server.events)
    start = HEAD + (b"Content-Length: 900\r\n\r\n" if what == "body" else b"")
    host, _, port = server.http.partition(":")
    if what == "header":
        answer, seconds = trickled(server, start + b"X: " + b"a" * 1000, 0.05)
    else:
        with socket.create_connection((host, int(port)), 10) as s:
            began = time.monotonic()
            s.sendall(start)
            for _ in range(4):
                s.sendall(b" ")
                time.sleep(0.1)
            answer, seconds = received(s), time.monotonic() - began
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.8 < seconds < 5
    server.wait_for(lambda: server.reasons(before) == ["slow"])
    still_works(server, good)


def test_connections_without_a_word_are_closed_and_bounded(server, good):
    """More than the limit at once: the rest are told 503; the others are closed when the time for a header is over."""
    before = len(server.events)
    host, _, port = server.http.partition(":")
    open_ones = [socket.create_connection((host, int(port)), 10) for _ in range(60)]
    try:
        answers = [received(s) for s in open_ones]
    finally:
        for s in open_ones:
            s.close()
    refused = [a for a in answers if a.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) >= 20 and all(a == b"" for a in answers if a not in refused)
    assert server.reasons(before) == ["overload"] * len(refused)
    still_works(server, good)


# -- gRPC -------------------------------------------------------------------------------------------------------------


def rpc_request(**fields) -> bytes:
    m = messages().ModelInferRequest(model_name="digits", **{k: v for k, v in fields.items() if k in ("raw_input_contents", "id")})
    m.inputs.add(name=fields.get("name", "image"), datatype=fields.get("datatype", "FP32"), shape=fields.get("shape", [1, 1, 8, 8]))
    return m.SerializeToString()


def typed_request() -> bytes:
    m = messages().ModelInferRequest(model_name="digits", raw_input_contents=[bytes(256)])
    m.inputs.add(name="image", datatype="FP32", shape=[1, 1, 8, 8]).contents.fp32_contents.extend([0] * 64)
    return m.SerializeToString()


RPC = {
    "no protobuf": ("syntax", b"\xff\xff\xff"),
    "nothing": ("model_unknown", b""),
    "text that is no UTF-8": ("syntax", b"\x0a\x02\xff\xfe"),
    "a length beyond the end": ("syntax", b"\x0a\x7f" + b"a"),
    "deep groups": ("syntax", b"\x0b" * 5000),
    "a byte too few": ("size", rpc_request(raw_input_contents=[bytes(255)])),
    "two contents for one input": ("size", rpc_request(raw_input_contents=[bytes(256), bytes(256)])),
    "raw and typed": ("size", typed_request()),
    "no contents": ("size", rpc_request()),
    "a negative dimension": ("shape", rpc_request(raw_input_contents=[bytes(256)], shape=[-1, -1, 8, 8])),
    "a product that overflows": ("shape", rpc_request(raw_input_contents=[bytes(256)], shape=[2**62, 2**62, 8, 8])),
    "a thousand dimensions": ("shape", rpc_request(raw_input_contents=[bytes(256)], shape=[1] * 1000)),
    "halves said to be floats": ("size", rpc_request(raw_input_contents=[bytes(128)])),
    "NaN": ("nonfinite", rpc_request(raw_input_contents=[struct.pack("<f", float("nan")) * 64])),
    "another name": ("input", rpc_request(raw_input_contents=[bytes(256)], name="x" * 300)),
    "too large for the model": ("too_large", rpc_request(raw_input_contents=[bytes(9000)])),
    "too large for gRPC": ("cut_off", rpc_request(raw_input_contents=[bytes(1_000_000)])),
    "a long id": ("syntax", rpc_request(raw_input_contents=[bytes(256)], id="i" * 1000)),
}


@pytest.mark.parametrize("case", RPC)
def test_grpc(server, good, case):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    reason, body = RPC[case]
    before = len(server.events)
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(body, timeout=20)
    assert caught.value.code().name == of(reason).grpc
    server.wait_for(lambda: len(server.events) > before)
    assert [(e.outcome, e.reason, e.compute_ms) for e in server.events[before:]] == [("rejected", reason, 0.0)]
    still_works(server, good)


def test_grpc_metadata_that_is_too_large(server, good):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    long = [(f"k{k}", "v" * 1000) for k in range(40)]
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"", timeout=20, metadata=long)
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"
    still_works(server, good)


@pytest.mark.parametrize(("ending", "reason"), [("closes", "syntax"), ("cancels", "cut_off"), ("has no time left", "cut_off")])
def test_a_grpc_peer_without_a_message(server, good, ending, reason):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    before, closed = len(server.events), threading.Event()

    def none():
        if ending != "closes":
            closed.wait(10)
        yield from ()

    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(none(), timeout=0.3 if "time" in ending else 20)
        if ending == "cancels":
            time.sleep(0.3)
            call.cancel()
        server.wait_for(lambda: len(server.events) > before)
        closed.set()
    assert server.reasons(before) == [reason]
    still_works(server, good)


def test_a_grpc_peer_that_never_sends_its_message(server):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    before = len(server.events)

    def never():
        time.sleep(3)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")(never(), timeout=20)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    server.wait_for(lambda: "slow" in server.reasons(before))
