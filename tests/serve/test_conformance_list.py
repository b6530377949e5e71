"""The list of docs/serving.md, what of the Open Inference Protocol v2 is served and what is not, walked with tritonclient: every row has a
check here, every check a row, and what a row says is what happens."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from running import ALEXNET, ROOT, running, sample

import edgerun
from edgerun.serve.oip import DATATYPES

http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
grpc = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
from tritonclient.utils import InferenceServerException  # noqa: E402

PROTOCOLS = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")
"""The datatypes of the protocol that have numbers; not taken from the code, which may lose one."""


def listed() -> dict[str, tuple[str, str]]:
    """Row → (HTTP, gRPC): "yes", "–" where there is no such thing, or the code of the refusal."""
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    part = page[page.index("### Conformance"):page.index("## What it refuses")]
    rows = re.findall(r"^\| (.+?) \| (\S+?)(?: [^|]*)? \| (\S+?)(?: [^|]*)? \|$", part, re.MULTILINE)
    return {re.sub(r"[`*]", "", name): (h, g) for name, h, g in rows if name not in ("of the protocol", "---")}


LISTED = listed()


@pytest.fixture(scope="module")
def server(identity_models):
    """A real network in two versions, and the models of `identity_models`."""
    with running({"net": ALEXNET, "net:2": ALEXNET} | identity_models) as found:
        yield found


@pytest.fixture(scope="module")
def want():
    with edgerun.Session(ALEXNET, checks="standard", threads=1) as session:
        return session.run(sample(ALEXNET)).outputs


@pytest.fixture(params=["http", "grpc"])
def c(request, server, want):
    """A client and what the checks need: kind; api, its module; ask(**…), an inference with the real image; want, the answer."""
    api = {"http": http, "grpc": grpc}[request.param]

    def ask(model="net", x=None, name="image", datatype="FP32", binary=True, outputs=None, **options):
        x = sample(ALEXNET) if x is None else x
        tensor = api.InferInput(name, list(x.shape), datatype)
        tensor.set_data_from_numpy(x, **({"binary_data": binary} if api is http else {}))
        return client.infer(model, [tensor], outputs=outputs, **options)

    with api.InferenceServerClient(getattr(server, request.param)) as client:
        yield SimpleNamespace(kind=request.param, api=api, client=client, ask=ask, want=want, server=server)


def said(c, answer) -> dict:
    """An answer's fields as a dictionary."""
    found = answer.get_response() if c.kind == "http" else answer.get_response(as_json=True)
    return {k: v for k, v in found.items() if k != "raw_output_contents"}


def right(c, answer) -> bool:
    return all(np.array_equal(answer.as_numpy(n), v) for n, v in c.want.items())


def typed(c) -> bool:
    """tritonclient writes raw contents only: the message by hand, as a client of the bare protocol does."""
    if c.kind == "http":
        return right(c, c.ask(binary=False))
    import grpc as plain

    from edgerun.splits.oip_messages import SERVICE, messages

    m = messages().ModelInferRequest(model_name="net")
    x = sample(ALEXNET)
    tensor = m.inputs.add(name="image", datatype="FP32", shape=x.shape)
    tensor.contents.fp32_contents.extend(x.ravel().tolist())
    with plain.insecure_channel(c.server.grpc) as channel:
        out = messages().ModelInferResponse.FromString(channel.unary_unary(f"/{SERVICE}/ModelInfer")(m.SerializeToString(), timeout=20))
    return {o.name: raw for o, raw in zip(out.outputs, out.raw_output_contents, strict=True)} == {
        n: v.tobytes() for n, v in c.want.items()}


def every_datatype(c) -> bool:
    for name in PROTOCOLS:
        x = np.array([[0, 1, 1]]).astype(DATATYPES[name])
        for binary in (True, False) if c.kind == "http" and name != "FP16" else (True,):
            if not np.array_equal(c.ask(name, x, "x", name, binary).as_numpy("y"), x):
                return False
    return True


def metadata(c) -> bool:
    found = c.client.get_model_metadata("net", "2", **({} if c.kind == "http" else {"as_json": True}))
    return {"name", "versions", "platform", "inputs", "outputs"} <= set(found) and found["versions"] == ["1", "2"]


def given_back(c) -> bool:
    fields = said(c, c.ask(request_id="my-id", model_version="2"))
    return (fields["model_name"], fields["model_version"], fields["id"]) == ("net", "2", "my-id") and "exit" in fields["parameters"]


def chosen(c) -> bool:
    answer = c.ask(outputs=[c.api.InferRequestedOutput("exit1")])
    return np.array_equal(answer.as_numpy("exit1"), c.want["exit1"]) and answer.as_numpy("final") is None


def batch(c) -> bool:
    x = np.concatenate([sample(ALEXNET)] * 3)
    return np.array_equal(c.ask(x=x).as_numpy("final"), np.concatenate([c.want["final"]] * 3))


def with_parameters(c) -> bool:
    outputs = [c.api.InferRequestedOutput(n) for n in c.want]
    return right(c, c.ask(parameters={"colour": "red", "count": 3, "yes": True}, priority=3, outputs=outputs))


def stream(c) -> None:
    """By plain gRPC, as tritonclient tells no code here."""
    import grpc as plain

    from edgerun.splits.oip_messages import SERVICE

    with plain.insecure_channel(c.server.grpc) as channel:
        try:
            list(channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter([b""]), timeout=20))
        except plain.RpcError as e:
            raise InferenceServerException(str(e), e.code().name) from e


def shared(c) -> None:
    c.client.register_system_shared_memory("region", "/key", 64)


def in_shared(c) -> object:
    tensor = c.api.InferInput("image", [1, 1, 28, 28], "FP32")
    tensor.set_shared_memory("region", 3136)
    return c.client.infer("net", [tensor])


def compressed(c) -> object:
    name = "request_compression_algorithm" if c.kind == "http" else "compression_algorithm"
    return right(c, c.ask(**{name: "gzip"}))


def text(c) -> object:
    return c.ask("UINT8", np.array([[b"a", b"b", b"c"]], np.object_), "x", "BYTES")


CHECKS = {
    "server live": lambda c: c.client.is_server_live(),
    "server ready": lambda c: c.client.is_server_ready(),
    "server metadata: name, version, extensions": lambda c: "binary_tensor_data" in (
        c.client.get_server_metadata() if c.kind == "http" else c.client.get_server_metadata(as_json=True))["extensions"],
    "model ready, of a version, too": lambda c: c.client.is_model_ready("net") and c.client.is_model_ready("net", "2"),
    "model metadata: name, versions, platform, inputs, outputs": metadata,
    "inference, of a version, too": lambda c: right(c, c.ask()) and right(c, c.ask(model_version="1")),
    "tensors as numbers": typed,
    "tensors as bytes": lambda c: right(c, c.ask(binary=True)),
    "datatypes BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64": every_datatype,
    "outputs chosen by name": chosen,
    "several samples in a request": batch,
    "model_name, model_version, id and parameters in the answer": given_back,
    "parameters, unknown ones and priority among them: ignored": with_parameters,
    "timeout in microseconds": lambda c: right(c, c.ask(timeout=5_000_000)),
    "a model or version that is not there": lambda c: c.ask("nobody"),
    "an input of another name, datatype or shape": lambda c: c.ask(x=np.zeros((1, 1, 28, 27), np.float32)),
    "BYTES, but for features": text,
    "classification": lambda c: c.ask(outputs=[c.api.InferRequestedOutput("final", class_count=3)]),
    "sequences": lambda c: c.ask(sequence_id=7, sequence_start=True),
    "shared memory: regions": shared,
    "shared memory: tensors in it": in_shared,
    "loading and unloading models, and their index": lambda c: c.client.load_model("net"),
    "model configuration": lambda c: c.client.get_model_config("net"),
    "model statistics": lambda c: c.client.get_inference_statistics("net"),
    "trace and log settings": lambda c: c.client.get_trace_settings(),
    "streams": stream,
    "compressed messages": compressed,
}


def test_every_row_has_a_check_and_every_check_a_row():
    assert set(LISTED) == set(CHECKS)


@pytest.mark.parametrize("row", CHECKS)
def test_what_the_list_says_is_what_happens(c, row):
    expected = LISTED[row][c.kind == "grpc"]
    if expected == "–":
        pytest.skip("there is no such thing in this transport")
    if expected == "yes":
        assert CHECKS[row](c)
        return
    with pytest.raises(InferenceServerException) as refused:
        CHECKS[row](c)
    assert str(refused.value.status()).removeprefix("StatusCode.") == expected
