"""tritonclient from PyPI, unchanged, against a real server: answers have the bits of a Session."""

from __future__ import annotations

import numpy as np
import pytest
from running import ALEXNET, DIGITS, Running, running, sample

import edgerun
from edgerun.serve.status import of

http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
grpc = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
from tritonclient.utils import InferenceServerException  # noqa: E402

KINDS = ["http-json", "http-binary", "grpc"]


@pytest.fixture(scope="module")
def server():
    with running({"digits": DIGITS, "alexnet": ALEXNET, "alexnet:2": ALEXNET}) as found:
        yield found


@pytest.fixture(scope="module")
def clients(server: Running):
    with http.InferenceServerClient(server.http) as h, grpc.InferenceServerClient(server.grpc) as g:
        yield {"http": h, "grpc": g}


def infer(clients, kind: str, model: str, name: str, x: np.ndarray, outputs=None, datatype="FP32", **options):
    api, module = ("grpc", grpc) if kind == "grpc" else ("http", http)
    tensor = module.InferInput(name, list(x.shape), datatype)
    binary = {} if kind == "grpc" else {"binary_data": kind == "http-binary"}
    tensor.set_data_from_numpy(x, **binary)
    wanted = None if outputs is None else [module.InferRequestedOutput(o, **binary) for o in outputs]
    return clients[api].infer(model, [tensor], outputs=wanted, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [DIGITS, ALEXNET], ids=["digits", "alexnet"])
def test_answers_have_the_bits_of_a_session(clients, kind, model):
    x = sample(model)
    with edgerun.Session(model, checks="standard", threads=1) as session:
        want, name = session.run(x).outputs, session.inputs[0].name
    got = infer(clients, kind, "digits" if model is DIGITS else "alexnet", name, x, list(want))
    for output, values in want.items():
        assert got.as_numpy(output).dtype == values.dtype
        np.testing.assert_array_equal(got.as_numpy(output), values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch(clients, kind):
    x = np.concatenate([sample(ALEXNET, f"digit_{k}.png") for k in range(4)])
    with edgerun.Session(ALEXNET, checks="standard", threads=1) as session:
        want = session.run(x).outputs["final"]
    np.testing.assert_array_equal(infer(clients, kind, "alexnet", "image", x, ["final"]).as_numpy("final"), want)


@pytest.mark.parametrize("kind", KINDS)
def test_without_outputs_all_are_answered_and_the_id_comes_back(clients, kind):
    got = infer(clients, kind, "alexnet", "image", sample(ALEXNET), request_id="number 5")
    response = got.get_response() if kind != "grpc" else got.get_response(as_json=True)
    assert [o["name"] for o in response["outputs"]] == ["exit1", "exit2", "final"]
    assert response["id"] == "number 5"
    assert response["model_name"] == "alexnet"
    assert response["model_version"] == "2"


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_asked_for(clients, kind):
    got = infer(clients, kind, "alexnet", "image", sample(ALEXNET), ["exit2"])
    assert got.as_numpy("exit2").shape == (1, 10)
    assert got.as_numpy("final") is None


@pytest.mark.parametrize("kind", KINDS)
def test_version(clients, kind):
    got = infer(clients, kind, "alexnet", "image", sample(ALEXNET), model_version="1")
    response = got.get_response() if kind != "grpc" else got.get_response(as_json=True)
    assert response["model_version"] == "1"


@pytest.mark.parametrize("api", ["http", "grpc"])
def test_health(clients, api):
    client = clients[api]
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("alexnet", "2")


def test_model_ready_of_no_model(clients):
    assert not clients["http"].is_model_ready("nobody")
    with pytest.raises(InferenceServerException, match="no such model"):
        clients["grpc"].is_model_ready("nobody")


def test_server_metadata(clients):
    h, g = clients["http"].get_server_metadata(), clients["grpc"].get_server_metadata(as_json=True)
    assert h == g
    assert h["name"] == "edgerun" and h["version"] == edgerun.__version__ and "binary_tensor_data" in h["extensions"]


def test_model_metadata(clients):
    h, g = clients["http"].get_model_metadata("alexnet"), clients["grpc"].get_model_metadata("alexnet", as_json=True)
    assert h["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
    assert [o["name"] for o in h["outputs"]] == ["exit1", "exit2", "final"]
    assert h["versions"] == ["1", "2"]
    assert (g["name"], g["versions"], g["platform"]) == (h["name"], h["versions"], h["platform"])
    assert [(i["name"], [int(d) for d in i["shape"]]) for i in g["inputs"]] == [(i["name"], i["shape"]) for i in h["inputs"]]


def zeros(*shape: int, value: float = 0.0) -> np.ndarray:
    return np.full(shape, value, np.float32)


ERRORS = {
    "no such model": ("model_unknown", {"model": "nobody"}),
    "no such version": ("model_unknown", {"model_version": "7"}),
    "another shape": ("shape", {"x": zeros(1, 1, 8, 7)}),
    "another rank": ("shape", {"x": zeros(1, 64)}),
    "a batch too large": ("shape", {"x": zeros(9, 1, 8, 8)}),
    "far too much": ("too_large", {"x": zeros(80, 1, 8, 8)}),
    "another datatype": ("datatype", {"x": np.zeros((1, 1, 8, 8)), "datatype": "FP64"}),
    "another name": ("input", {"name": "picture"}),
    "no such output": ("output", {"outputs": ["nothing"]}),
    "an output twice": ("output", {"outputs": ["final", "final"]}),
    "NaN": ("nonfinite", {"x": zeros(1, 1, 8, 8, value=np.nan)}),
    "infinity": ("nonfinite", {"x": zeros(1, 1, 8, 8, value=np.inf)}),
}


@pytest.mark.parametrize("kind", ["http-binary", "grpc"])
@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_the_clients_own(server, clients, kind, case):
    reason, wrong = ERRORS[case]
    before = len(server.events)
    with pytest.raises(InferenceServerException) as caught:
        infer(clients, kind, **{"model": "digits", "name": "image", "x": zeros(1, 1, 8, 8), **wrong})
    said = of(reason)
    assert caught.value.status() == (f"StatusCode.{said.grpc}" if kind == "grpc" else str(said.http))
    assert [(e.outcome, e.reason) for e in server.events[before:]] == [("rejected", reason)]


def test_the_answer_says_what_was_verified(clients):
    got = infer(clients, "http-binary", "alexnet", "image", sample(ALEXNET)).get_response()["parameters"]
    assert got["findings"] == 0 and got["exit"] == "final" and got["latency_ms"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_early_exits(kind):
    from edgerun.serve import ModelOptions

    x = sample(ALEXNET)
    with edgerun.Session(ALEXNET, checks="standard", threads=1, exit_policy="confidence") as session:
        want = session.run(x)
    assert want.exit.early, "the sample should leave early, or this tests nothing"
    with running({"alexnet": ALEXNET}, options=ModelOptions(exit_policy="confidence")) as s, \
            http.InferenceServerClient(s.http) as h, grpc.InferenceServerClient(s.grpc) as g:
        got = infer({"http": h, "grpc": g}, kind, "alexnet", "image", x)
        np.testing.assert_array_equal(got.as_numpy(want.exit.name), want.outputs[want.exit.name])
        assert got.as_numpy("final") is None
        assert s.events[-1].exit == want.exit.name
