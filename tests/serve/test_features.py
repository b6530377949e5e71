"""The tail of a split network as a service: features in every encoding, scores of the device's exit, answers kept for retries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from running import ALEXNET, Running, post, running, sample

import edgerun
from edgerun.errors import ModelFormatError, OptionError
from edgerun.serve import Principal
from edgerun.splits import Manifest, pack, unpack
from edgerun_tools.cli import main

PATH = "/v2/models/parts/infer"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A zoo network, cut by `edgerun split` behind its first exit."""
    folder = tmp_path_factory.mktemp("split") / "parts"
    assert main(["split", str(ALEXNET), "--auto", "--bandwidth", "5Mbit", "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def server(parts):
    with running({"parts": parts}) as found:
        yield found


@pytest.fixture(scope="module")
def features(parts) -> tuple[str, np.ndarray]:
    """Name and values of what the head gives for a real image."""
    with edgerun.Session(parts / "head.onnx") as head:
        [name] = [t["name"] for t in Manifest.read(parts).tensors]
        return name, head.run(sample(ALEXNET)).outputs[name]


def tail_of(parts, x: np.ndarray) -> dict[str, np.ndarray]:
    with edgerun.Session(parts / "tail.onnx", checks="standard", threads=1) as session:
        return session.run(x).outputs


def sent(server: Running, entry: dict, payload: bytes, headers=None, **extra) -> tuple[int, dict, dict[str, np.ndarray]]:
    """(status, JSON of the answer, outputs) of a binary request with one input."""
    entry = {**entry, "parameters": {"binary_data_size": len(payload), **entry.get("parameters", {})}}
    head = json.dumps({"inputs": [entry], **extra}).encode()
    code, _, out = post(server.http, PATH, head + payload, {"Inference-Header-Content-Length": str(len(head)), **(headers or {})})
    found = json.loads(out)
    outputs = {o["name"]: np.array(o["data"], np.float32).reshape(o["shape"]) for o in found.get("outputs", [])}
    return code, found, outputs


def same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert set(got) == set(want)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)


def test_metadata_says_what_it_is_a_part_of(server, parts):
    import urllib.request

    with urllib.request.urlopen(f"http://{server.http}/v2/models/parts", timeout=10) as answer:
        found = json.load(answer)
    manifest = Manifest.read(parts)
    assert found["parameters"]["sha256"] == manifest.tail.sha256
    assert found["parameters"]["split_of"] == manifest.model_sha256


@pytest.mark.parametrize("encoding", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("datatype", ["UINT8", "BYTES"])
def test_encoded_features_are_answered_as_the_tail_answers_the_decoded(server, parts, features, encoding, datatype):
    name, x = features
    packed = pack(x, encoding)
    payload = packed.payload if datatype == "UINT8" else len(packed.payload).to_bytes(4, "little") + packed.payload
    parameters = {"edgerun_encoding": packed.encoding, "scale": packed.scale, "zero": packed.zero,
                  "shape": ",".join(map(str, x.shape))}
    shape = [len(packed.payload)] if datatype == "UINT8" else [1]
    code, found, outputs = sent(server, {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}, payload)
    assert code == 200, found
    same(outputs, tail_of(parts, unpack(packed)))


def test_plain_tensors_are_taken_too(server, parts, features):
    name, x = features
    _, _, outputs = sent(server, {"name": name, "datatype": "FP32", "shape": list(x.shape)}, x.tobytes())
    same(outputs, tail_of(parts, x))


def test_halves_are_widened(server, parts, features):
    name, x = features
    half = x.astype(np.float16)
    _, _, outputs = sent(server, {"name": name, "datatype": "FP16", "shape": list(x.shape)}, half.tobytes())
    same(outputs, tail_of(parts, half.astype(np.float32)))


def test_the_answer_is_that_of_the_whole_network(server, features):
    name, x = features
    _, _, outputs = sent(server, {"name": name, "datatype": "FP32", "shape": list(x.shape)}, x.tobytes())
    with edgerun.Session(ALEXNET, checks="standard", threads=1) as session:
        want = session.run(sample(ALEXNET)).outputs["final"]
    np.testing.assert_array_equal(outputs["final"], want)


@pytest.mark.parametrize(("change", "reason"), [
    ({"edgerun_encoding": "int8", "scale": -1.0}, "encoding"), ({"edgerun_encoding": "int8", "zero": 300}, "encoding"),
    ({"edgerun_encoding": "int8", "zero": 0.5}, "encoding"), ({"edgerun_encoding": "int8", "scale": 1e39}, "nonfinite"),
    ({"edgerun_encoding": "raw"}, "encoding"), ({"edgerun_encoding": 7}, "encoding"), ({"shape": "1,2,3"}, "shape"),
    ({"shape": "99999999999,99999999999,1,1"}, "shape"), ({"shape": "a"}, "encoding"), ({"shape": [1.5]}, "encoding"),
])
def test_encodings_that_are_none(server, features, change, reason):
    name, x = features
    packed = pack(x, "int8")
    parameters = {"edgerun_encoding": "int8", "scale": packed.scale, "zero": packed.zero, "shape": ",".join(map(str, x.shape))} | change
    before = len(server.events)
    entry = {"name": name, "datatype": "UINT8", "shape": [len(packed.payload)], "parameters": parameters}
    code, found, _ = sent(server, entry, packed.payload)
    assert (code, found["reason"]) == (400, reason), found
    assert server.reasons(before) == [reason]


@pytest.mark.parametrize("scores", [[0.1, 0.9], "0.1,0.9"])
def test_scores_of_the_devices_exit_may_come_along(server, features, scores):
    name, x = features
    entry = {"name": name, "datatype": "FP32", "shape": list(x.shape)}
    code, found, _ = sent(server, entry, x.tobytes(), parameters={"exit_scores": scores})
    assert code == 200, found


def test_a_tail_that_was_changed_is_not_served(parts, tmp_path):
    import shutil

    shutil.copytree(parts, tmp_path / "parts")
    with (tmp_path / "parts" / "tail.onnx").open("ab") as f:
        f.write(b"\0")
    with pytest.raises(ModelFormatError, match="sha256"), running({"parts": tmp_path / "parts"}):
        pass


def test_a_detector_of_no_model():
    with pytest.raises(OptionError, match="detectors"), running({"alex": ALEXNET}, detectors={"other": ALEXNET}):
        pass


# -- retries ----------------------------------------------------------------------------------------------------------


class Numbered:
    """A gate that takes "number" or "number;repeated" for an envelope."""

    async def admit(self, header, body, method, target, peer) -> Principal:
        number, _, again = (header or "0").partition(";")
        return Principal("d1", "0" * 16, 1, int(number), digest=str(hash(bytes(body))), repeated=bool(again))


@pytest.fixture(scope="module")
def numbered(parts):
    with running({"parts": parts}, gate=Numbered()) as found:
        yield found


def test_a_repeated_message_gets_the_stored_answer_and_runs_nothing(numbered, features):
    name, x = features
    entry = {"name": name, "datatype": "FP32", "shape": list(x.shape)}
    code, first, outputs = sent(numbered, entry, x.tobytes(), {"edgerun-envelope": "1"})
    assert code == 200 and "repeated" not in first["parameters"]
    code, again, repeated = sent(numbered, entry, x.tobytes(), {"edgerun-envelope": "1;again"})
    assert code == 200 and again["parameters"]["repeated"] is True
    same(repeated, outputs)
    assert numbered.events[-1].compute_ms == 0 and numbered.events[-2].compute_ms > 0


@pytest.mark.parametrize("what", ["never sent", "another body"])
def test_a_repeated_message_without_a_stored_answer_is_a_replay(numbered, features, what):
    name, x = features
    entry = {"name": name, "datatype": "FP32", "shape": list(x.shape)}
    if what == "another body":
        sent(numbered, entry, x.tobytes(), {"edgerun-envelope": "5"})
    code, found, _ = sent(numbered, entry, (x + 1).tobytes(), {"edgerun-envelope": "5;again" if what == "another body" else "9;again"})
    assert (code, found["reason"]) == (409, "replay")


def test_a_refusal_is_repeated_as_it_was(numbered, features):
    x = features[1]
    entry = {"name": "other", "datatype": "FP32", "shape": list(x.shape)}
    for header in ("20", "20;again"):
        code, found, _ = sent(numbered, entry, x.tobytes(), {"edgerun-envelope": header})
        assert (code, found["reason"]) == (400, "input")


def test_the_answer_names_what_it_answers(numbered, features):
    name, x = features
    head = json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": list(x.shape),
                                   "parameters": {"binary_data_size": x.nbytes}}]}).encode()
    body = head + x.tobytes()
    _, headers, _ = post(numbered.http, PATH, body, {"Inference-Header-Content-Length": str(len(head)), "edgerun-envelope": "30"})
    assert headers["edgerun-answer"] == f"device=d1;epoch=1;seq=30;digest={hash(body)}"


