"""The Open Inference Protocol v2, requirement by requirement (github.com/kserve/open-inference-protocol, specification/protocol/
inference_rest.md, inference_grpc.md and open_inference_grpc.proto; Triton's extension_binary_data.md), against a real server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from running import DIGITS, Running, post, reason_of, request_of, running, sample

import edgerun
from edgerun.serve.oip import DATATYPES
from edgerun.splits.oip_messages import METHODS, messages


@pytest.fixture(scope="module")
def server():
    with running({"digits": DIGITS}) as found:
        yield found


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return sample(DIGITS)


@pytest.fixture(scope="module")
def names() -> tuple[str, str]:
    with edgerun.Session(DIGITS) as session:
        return session.inputs[0].name, session.outputs[0].name


def get(server: Running, path: str) -> tuple[int, dict, dict]:
    try:
        with urllib.request.urlopen(f"http://{server.http}{path}", timeout=20) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), json.load(e)


def infer(server: Running, request: dict, path: str = "/v2/models/digits/infer", **headers) -> tuple[int, dict]:
    code, _, body = post(server.http, path, json.dumps(request).encode(), headers)
    return code, json.loads(body)


# -- REST -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready", "/v2/models/digits/versions/1/ready"])
def test_health_answers_200(server, path):
    assert get(server, path)[0] == 200


def test_server_metadata_has_name_version_extensions(server):
    code, _, found = get(server, "/v2")
    assert code == 200
    assert {"name", "version", "extensions"} <= set(found) and isinstance(found["extensions"], list)


@pytest.mark.parametrize("path", ["/v2/models/digits", "/v2/models/digits/versions/1"])
def test_model_metadata(server, path, names):
    code, _, found = get(server, path)
    assert code == 200
    assert (found["name"], found["versions"]) == ("digits", ["1"])
    assert found["platform"]
    assert found["inputs"] == [{"name": names[0], "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert found["outputs"] == [{"name": names[1], "datatype": "FP32", "shape": [-1, 10]}]


@pytest.mark.parametrize("path", ["/v2/models/nobody", "/v2/models/digits/versions/9", "/v2/models/nobody/ready", "/v2/nothing", "/v3",
                                  "/v2/models/..%2f..%2fetc", "/v2/models/digits/versions/"])
def test_what_is_not_there_is_404_with_an_error(server, path):
    code, headers, found = get(server, path)
    assert code == 404
    assert isinstance(found["error"], str) and headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/v2/models/digits/versions/1/infer"])
def test_infer(server, x, names, path):
    code, found = infer(server, request_of(x, names[0], id="a"), path)
    assert code == 200
    assert (found["model_name"], found["model_version"], found["id"]) == ("digits", "1", "a")
    [output] = found["outputs"]
    with edgerun.Session(DIGITS, checks="standard", threads=1) as session:
        want = session.run(x).outputs[names[1]]
    assert (output["name"], output["datatype"], output["shape"]) == (names[1], "FP32", [1, 10])
    np.testing.assert_array_equal(np.array(output["data"], np.float32).reshape(1, 10), want)


def test_id_is_optional_and_then_absent(server, x, names):
    assert "id" not in infer(server, request_of(x, names[0]))[1]


def test_data_may_be_nested(server, x, names):
    request = request_of(x, names[0])
    request["inputs"][0]["data"] = x.tolist()
    assert infer(server, request)[1]["outputs"] == infer(server, request_of(x, names[0]))[1]["outputs"]


def test_outputs_may_be_named(server, x, names):
    assert [o["name"] for o in infer(server, request_of(x, names[0], outputs=[{"name": names[1]}]))[1]["outputs"]] == [names[1]]


def test_unknown_parameters_are_ignored(server, x, names):
    request = request_of(x, names[0], parameters={"colour": "red", "number": 3, "yes": True})
    request["inputs"][0]["parameters"] = {"layout": "row"}
    assert infer(server, request)[0] == 200


def test_an_inference_error_is_400_with_error_text(server, x, names):
    code, found = infer(server, request_of(x[..., :7], names[0]))
    assert code == 400
    assert isinstance(found["error"], str)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(server, method):
    request = urllib.request.Request(f"http://{server.http}/v2/models/digits/infer", method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as answer:
        assert answer.code == 405


# -- binary tensors ---------------------------------------------------------------------------------------------------


def binary(x: np.ndarray, name: str, **extra) -> tuple[bytes, dict[str, str]]:
    head = {"inputs": [{"name": name, "shape": list(x.shape), "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}], **extra}
    text = json.dumps(head).encode()
    return text + x.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


@pytest.mark.parametrize("extra", [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": None,
                                                                                               "parameters": {"binary_data": True}}]}])
def test_binary_both_ways(server, x, names, extra):
    extra = json.loads(json.dumps(extra).replace("null", json.dumps(names[1])))
    body, headers = binary(x, names[0], **extra)
    code, got, out = post(server.http, "/v2/models/digits/infer", body, headers)
    assert code == 200
    length = int(got["inference-header-content-length"])
    [output] = json.loads(out[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(out) - length == 40
    with edgerun.Session(DIGITS, checks="standard", threads=1) as session:
        assert out[length:] == session.run(x).outputs[names[1]].tobytes()


def test_binary_in_json_out(server, x, names):
    body, headers = binary(x, names[0])
    code, got, out = post(server.http, "/v2/models/digits/infer", body, headers)
    assert code == 200
    assert "inference-header-content-length" not in got and len(json.loads(out)["outputs"][0]["data"]) == 10


def test_a_request_for_one_output_in_json_although_all_are_binary(server, x, names):
    body, headers = binary(x, names[0], parameters={"binary_data_output": True},
                           outputs=[{"name": names[1], "parameters": {"binary_data": False}}])
    assert "data" in json.loads(post(server.http, "/v2/models/digits/infer", body, headers)[2])["outputs"][0]


# -- gRPC -------------------------------------------------------------------------------------------------------------


def test_messages_are_those_of_the_specification():
    """Field by field as tritonclient's generated code has them, whose messages are a superset."""
    service = pytest.importorskip("tritonclient.grpc.service_pb2", reason="needs tritonclient[grpc]")
    compared = 0
    for method in METHODS:
        for kind in ("Request", "Response"):
            ours, theirs = (getattr(m, method + kind).DESCRIPTOR for m in (messages(), service))
            compared += compare(ours, theirs)
    assert compared > 60


def compare(ours, theirs) -> int:
    assert ours.full_name == theirs.full_name
    count = 0
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type) == (other.number, other.type), field.full_name
        assert (field.containing_oneof is None) == (other.containing_oneof is None)
        count += 1
        if field.message_type is not None:
            count += compare(field.message_type, other.message_type)
    return count


@pytest.fixture(scope="module")
def stub(server):
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    with grpc.insecure_channel(server.grpc) as channel:
        def call(method: str, request=None):
            found = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
                b"" if request is None else request.SerializeToString(), timeout=20)
            return getattr(messages(), f"{method}Response").FromString(found)

        yield call


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady"])
def test_grpc_health(stub, method):
    assert getattr(stub(method), method.removeprefix("Server").lower()) is True


def test_grpc_model_ready(stub):
    assert stub("ModelReady", messages().ModelReadyRequest(name="digits")).ready



def test_grpc_typed_contents(stub, x, names):
    m = messages().ModelInferRequest(model_name="digits", id="b")
    m.inputs.add(name=names[0], datatype="FP32", shape=x.shape).contents.fp32_contents.extend(x.ravel().tolist())
    raw = messages().ModelInferRequest(model_name="digits", raw_input_contents=[x.tobytes()])
    raw.inputs.add(name=names[0], datatype="FP32", shape=x.shape)
    got = stub("ModelInfer", m)
    assert got.id == "b"
    assert got.raw_output_contents == stub("ModelInfer", raw).raw_output_contents
    assert got.parameters["findings"].int64_param == 0


@pytest.mark.parametrize(("method", "request_of_it", "code"), [
    ("ModelInfer", lambda m: m.ModelInferRequest(model_name="nobody"), "NOT_FOUND"),
    ("ModelInfer", lambda m: m.ModelInferRequest(model_name="digits"), "INVALID_ARGUMENT"),
    ("ModelMetadata", lambda m: m.ModelMetadataRequest(name="nobody"), "NOT_FOUND"),
    ("ModelReady", lambda m: m.ModelReadyRequest(name="digits", version="9"), "NOT_FOUND"),
])
def test_grpc_errors(stub, method, request_of_it, code):
    import grpc

    with pytest.raises(grpc.RpcError) as caught:
        stub(method, request_of_it(messages()))
    assert caught.value.code().name == code
    assert dict(caught.value.trailing_metadata())["edgerun-reason"] in ("model_unknown", "input")


def test_grpc_methods_beyond_the_protocol_are_unimplemented(server):
    import grpc

    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")(b"", timeout=20)
    assert caught.value.code().name == "UNIMPLEMENTED"


# -- datatypes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def identities(identity_models):
    with running(identity_models) as found:
        yield found



VALUES = {"BOOL": [True, False, True], **{f"UINT{b}": [0, 1, 2**b - 1] for b in (8, 16, 32, 64)},
          **{f"INT{b}": [-2**(b - 1), 0, 2**(b - 1) - 1] for b in (8, 16, 32, 64)}, "FP16": [0.5, -2.0, 65504.0],
          "FP32": [0.1, -3.4e38, 1e-45], "FP64": [0.1, -1.7e308, 5e-324]}


@pytest.mark.parametrize("name", DATATYPES)
@pytest.mark.parametrize("form", ["json", "binary", "grpc", "grpc-raw"])
def test_every_datatype_in_every_form(identities, name, form):
    want = np.array([VALUES[name]], DATATYPES[name])
    head = {"name": "x", "shape": [1, 3], "datatype": name}
    if form.startswith("grpc"):
        import grpc

        from edgerun.serve.rpc_codec import _CONTENTS

        m = messages().ModelInferRequest(model_name=name)
        m.inputs.add(**head)
        if form == "grpc-raw":
            m.raw_input_contents.append(want.tobytes())
        elif name == "FP16":
            pytest.skip("the protocol has no typed field for FP16")
        else:
            getattr(m.inputs[0].contents, _CONTENTS[name][0]).extend(want.ravel().tolist())
        with grpc.insecure_channel(identities.grpc) as channel:
            out = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(m.SerializeToString(), timeout=20)
        got = messages().ModelInferResponse.FromString(out)
        assert (got.outputs[0].datatype, got.raw_output_contents[0]) == (name, want.tobytes())
    elif form == "json":
        code, found = infer(identities, {"inputs": [{**head, "data": want.ravel().tolist()}]}, f"/v2/models/{name}/infer")
        assert (code, found["outputs"][0]["datatype"]) == (200, name), found
        np.testing.assert_array_equal(np.array([found["outputs"][0]["data"]], DATATYPES[name]), want)
    else:
        text = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": want.nbytes}}],
                           "parameters": {"binary_data_output": True}}).encode()
        code, headers, out = post(identities.http, f"/v2/models/{name}/infer", text + want.tobytes(),
                                  {"Inference-Header-Content-Length": str(len(text))})
        assert code == 200, out
        assert out[int(headers["inference-header-content-length"]):] == want.tobytes()


@pytest.mark.parametrize(("name", "data"), [("UINT8", [0, 1, 256]), ("INT8", [-129, 0, 0]), ("INT32", [0.5, 1, 2]), ("BOOL", [1, 0, 1]),
                                            ("UINT64", [-1, 0, 0]), ("FP32", [True, False, True]), ("FP16", [1e6, 0, 0]),
                                            ("INT64", [2**64, 0, 0]), ("FP32", ["1", "2", "3"]), ("FP32", [None, 1, 2])])
def test_numbers_a_datatype_cannot_hold(identities, name, data):
    code, _, body = post(identities.http, f"/v2/models/{name}/infer", json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 3], "datatype": name, "data": data}]}).encode())
    assert code == 400
    assert reason_of(body) in ("datatype", "nonfinite")
