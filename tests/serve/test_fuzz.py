"""Random messages: no 5xx, no crash, answers as the description says. HTTP by schemathesis from that description, gRPC by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import ALEXNET, DIGITS, post, running, sample

from edgerun.serve import openapi
from edgerun.splits.oip_messages import messages

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
grpc = pytest.importorskip("grpc", reason="needs grpcio")

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
REFUSED = [400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 431]
CHECKS = {"positive_data_acceptance": {"enabled": False},  # the description does not know the names and shapes that a model takes
          "negative_data_rejection": {"expected-statuses": REFUSED}}
HTTP = schemathesis.openapi.from_dict(openapi.document(["digits", "alexnet"]),
                                      config=schemathesis.config.SchemathesisConfig.from_dict({"checks": CHECKS}))


@pytest.fixture(scope="module")
def server():
    with running({"digits": DIGITS, "alexnet": ALEXNET}) as found:
        yield found
        found.wait_for(lambda: found.server.core.messages == 0)
        assert not [e for e in found.events if e.outcome == "error"]


def tried(server, case) -> None:
    case.call_and_validate(base_url=f"http://{server.http}", timeout=20)


@HTTP.parametrize()
@QUICK
def test_http(server, case):
    tried(server, case)


@pytest.mark.slow
@HTTP.parametrize()
@LONG
def test_http_for_long(server, case):
    tried(server, case)


# -- bodies that are nearly right, byte by byte -----------------------------------------------------------------------


def request() -> bytes:
    x = sample(DIGITS)
    m = messages().ModelInferRequest(model_name="digits", id="7", raw_input_contents=[x.tobytes()])
    m.inputs.add(name="image", datatype="FP32", shape=x.shape)
    m.parameters["timeout"].int64_param = 10**7
    return m.SerializeToString()


def json_request() -> bytes:
    values = ",".join(repr(float(v)) for v in sample(DIGITS).ravel())
    return ('{"id":"7","inputs":[{"name":"image","shape":[1,1,8,8],"datatype":"FP32","data":[' + values
            + ']}],"outputs":[{"name":"final"}]}').encode()


WHOLE, JSON = request(), json_request()
EDIT = st.tuples(st.sampled_from(["set", "insert", "cut", "double"]), st.floats(0, 1, exclude_max=True), st.integers(0, 255),
                 st.integers(1, 40))


def edited(whole: bytes, edits: list[tuple[str, float, int, int]]) -> bytes:
    data = bytearray(whole)
    for kind, where, value, count in edits:
        at = int(where * max(1, len(data)))
        if kind == "set":
            data[at:at + 1] = bytes([value])
        elif kind == "insert":
            data[at:at] = bytes([value]) * count
        elif kind == "cut":
            del data[at:at + count]
        else:
            data[at:at] = data[at:at + count]
    return bytes(data)


@pytest.fixture(scope="module")
def call(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")


LEGAL = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


def asked(call, body: bytes) -> str:
    """ "OK" with a whole answer, or the name of the status code."""
    try:
        answer = messages().ModelInferResponse.FromString(call(body, timeout=20))
    except grpc.RpcError as e:
        return str(e.code().name)
    assert np.isfinite(np.frombuffer(answer.raw_output_contents[0], np.float32)).all()
    return "OK"


def test_the_request_that_is_edited_is_a_good_one(server, call):
    assert asked(call, WHOLE) == "OK"
    assert post(server.http, "/v2/models/digits/infer", JSON)[0] == 200


@given(st.lists(EDIT, min_size=1, max_size=6))
@settings(QUICK, max_examples=300)
def test_grpc_bytes(call, edits):
    assert asked(call, edited(WHOLE, edits)) in LEGAL | {"OK"}


@given(st.binary(max_size=600))
@settings(QUICK, max_examples=100)
def test_grpc_garbage(call, body):
    assert asked(call, body) in LEGAL


@given(st.lists(EDIT, min_size=1, max_size=6))
@settings(QUICK, max_examples=200)
def test_json_bytes(server, edits):
    assert post(server.http, "/v2/models/digits/infer", edited(JSON, edits))[0] in {200, *REFUSED}


@pytest.mark.slow
@given(st.lists(EDIT, min_size=1, max_size=12))
@settings(QUICK, max_examples=20_000)
def test_grpc_bytes_for_long(call, edits):
    assert asked(call, edited(WHOLE, edits)) in LEGAL | {"OK"}


@pytest.mark.slow
@given(st.lists(EDIT, min_size=1, max_size=12))
@settings(QUICK, max_examples=20_000)
def test_json_bytes_for_long(server, edits):
    assert post(server.http, "/v2/models/digits/infer", edited(JSON, edits))[0] in {200, *REFUSED}
