"""A real server process, by HTTP and gRPC: what is wrong with a message is found before the model runs, named, and counted."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import ALEXNET, sample

import edgerun
from edgerun.splits.envelope import Signer
from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import Entry, KeyRing
from edgerun_tools.cli import main

pytest.importorskip("grpc", reason="needs the extra serve")
from process import Grpc, Http, Process, serving
from sender import CUT, GONE, KEY, NEXT, PAST, STRANGER, Sender, features_of, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("security"))


@pytest.fixture(scope="module")
def features(folder):
    return features_of(folder)


@pytest.fixture(scope="module")
def truth(folder, features):
    with edgerun.Session(folder / "parts/tail.onnx") as tail:
        return tail.run({features[0]: features[1]}).outputs


@pytest.fixture(scope="module")
def server(folder):
    with serving(f"tail={folder / 'parts'}", "--keys", folder / "keys.json", "--config", folder / "serve.toml") as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def wire(request, server):
    return Http(server) if request.param == "http" else Grpc(server)


@pytest.fixture
def sender(folder, wire, features):
    return Sender(folder, wire, features)


def test_a_good_message_is_answered(sender, truth):
    reply = sender.good()
    assert reply.reason == "" and {k: v.tobytes() for k, v in reply.outputs.items()} == {k: v.tobytes() for k, v in truth.items()}


def flipped(body: bytes, at: int = -9) -> bytes:
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


OVERSIZED = b"x" * (160 << 10)
"""More than serve.toml allows, and than 19 KB of features need in JSON."""
PAGE = Path(__file__).resolve().parents[2] / "docs/security.md"
RAN = "nv_inference_exec_count model=tail version=1"
COMPUTED = "edgerun_compute_seconds_count model=tail"
WRONG = {
    "unsigned": (lambda s: (None, s.body()), "envelope_missing"),
    "a header that is none": (lambda s: ("Bearer abc", s.body()), "envelope_syntax"),
    "a header that is too long": (lambda s: (s.seal().format() + "A" * 400, s.body()), "envelope_syntax"),
    "a header cut short": (lambda s: (s.seal().format()[:-10], s.body()), "envelope_syntax"),
    "a tampered body": (lambda s: (s.seal().format(), flipped(s.body())), "digest"),
    "no body": (lambda s: (s.seal().format(), b""), "digest"),
    "a swapped device": (lambda s: (replace(s.seal(), device="cam-2").format(), s.body()), "key_unknown"),
    "another number": (lambda s: (replace(s.seal(), seq=10**6).format(), s.body()), "signature"),
    "another epoch": (lambda s: (replace(s.seal(), epoch=10**6).format(), s.body()), "signature"),
    "another model named": (lambda s: (replace(s.seal(), model="0" * 64).format(), s.body()), "signature"),
    "a signature of zeros": (lambda s: (replace(s.seal(), sig=bytes(64)).format(), s.body()), "signature"),
    "another's key": (lambda s: (replace(s.seal(key=STRANGER), key=KEY.id).format(), s.body()), "signature"),
    "an unknown key": (lambda s: (s.seal(key=STRANGER).format(), s.body()), "key_unknown"),
    "a revoked key": (lambda s: (s.seal(key=GONE).format(), s.body()), "key_revoked"),
    "a key whose time is over": (lambda s: (s.seal(key=PAST).format(), s.body()), "key_time"),
    "signed for another place": (lambda s: (s.seal(place=("POST", "/v2/models/other/infer")).format(), s.body()), "signature"),
    "signed for another transport": (lambda s: (s.seal(place=("GRPC" if s.wire.place[0] == "POST" else "POST", s.wire.place[1])).format(),
                                                s.body()), "signature"),
    "an epoch before": (lambda s: (s.seal(epoch=0).format(), s.body()), "epoch"),
    "another model's hash, signed": (lambda s: (s.seal(model="0" * 64).format(), s.body()), "model_hash"),
    "a body too large": (lambda s: (s.seal(OVERSIZED).format(), OVERSIZED), "too_large"),
    "noise, signed": (lambda s: (s.seal(b"\xff" * 999).format(), b"\xff" * 999), "syntax"),
    "nothing, signed": (lambda s: (s.seal(b"").format(), b""), ("syntax", "model_unknown")),
}


@pytest.mark.parametrize(("make", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_before_the_model_runs(server: Process, sender, make, reason):
    assert sender.good().reason == ""  # so there is an epoch to be behind of
    before, counts = len(server.all_requests()), server.metrics()
    reply = sender.wire.send(*make(sender))
    reasons = (reason,) if isinstance(reason, str) else reason
    assert reply.reason in reasons and not reply.outputs
    event = server.all_requests()[before]
    assert event["reason"] in reasons and event["outcome"] == "rejected" and "compute_ms" not in event and "exit" not in event
    after = server.metrics()
    assert {k: v - counts.get(k, 0) for k, v in after.items() if k.startswith("edgerun_rejected_total") and v != counts.get(k, 0)} == {
        f"edgerun_rejected_total reason={event['reason']}": 1}
    assert after[RAN] == counts[RAN] and after[COMPUTED] == counts[COMPUTED]
    assert sender.good().reason == ""  # and the device goes on


WRAPS = 96 * 7 * 7 * pow(2**32 + 5, -1, 2**64) % 2**64
"""Times 2^32 + 5 it is the tensor's number of elements, in 64 bits."""
LIES = {
    "a type that is not the model's": ({"datatype": "FP64"}, ("datatype",)),
    "a type that is none": ({"datatype": "FLOAT"}, ("datatype",)),
    "fewer elements than the shape": ({"data": [1.0] * 5}, ("size",)),
    "no elements": ({"data": []}, ("size",)),
    "a shape whose product wraps to 64 bits": ({"shape": [2**32, 2**32, 1, 1]}, ("shape", "size")),
    "a shape whose product wraps to the right number": ({"shape": [1, 2**32 + 5, WRAPS, 1]}, ("shape", "size")),
    "a negative dimension": ({"shape": [-1, -1, 7, 7]}, ("shape", "size")),
    "another rank": ({"shape": [1, 1]}, ("shape", "size")),
}


@pytest.mark.parametrize(("change", "reasons"), LIES.values(), ids=LIES)
def test_a_signed_lie_about_the_tensor_is_refused(server: Process, sender, change, reasons):
    """The key is good, what it signs is not."""
    before = len(server.all_requests())
    body = sender.body(**change)
    assert sender.wire.send(sender.seal(body).format(), body).reason in reasons
    event = server.all_requests()[before]
    assert event["outcome"] == "rejected" and "compute_ms" not in event and event["device"] == "cam-1"


def test_half_precision_that_is_not_is_refused(folder, server: Process, features):
    """As bytes, by gRPC; in JSON numbers are numbers."""
    sender = Sender(folder, Grpc(server), features)
    body = sender.body(datatype="FP16")
    assert sender.wire.send(sender.seal(body).format(), body).reason == "size"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_signed_payload_that_is_not_finite_is_refused(folder, server: Process, features, value):
    """By gRPC, as JSON has no such numbers."""
    sender = Sender(folder, Grpc(server), features)
    body = sender.body(data=np.full_like(sender.x, value))
    assert sender.wire.send(sender.seal(body).format(), body).reason == "nonfinite"


def test_numbers(server, sender):
    """Reordered inside the window: served. The same again, behind the window: refused, and counted by the verdict."""
    counts = server.metrics()

    def send(seq):
        return sender.wire.send(sender.seal(seq=seq).format(), sender.body()).reason

    assert [send(s) for s in (5, 3, 4, 5, 3, 5000, 4, 4999, 4999, 2**64 - 1, 2**64 - 1, 5000)] == [
        "", "", "", "replay", "replay", "", "replay_old", "", "replay", "", "replay", "replay_old"]
    after = server.metrics()
    rose = {v: after[f"edgerun_replay_rejected_total verdict={v}"] - counts.get(f"edgerun_replay_rejected_total verdict={v}", 0)
            for v in ("replayed", "too_old")}
    assert rose == {"replayed": 4, "too_old": 2}


def test_a_message_cannot_go_from_one_transport_to_the_other(folder, server, features):
    """The same number and body, recorded on one, sent to the other."""
    http, grpc = Sender(folder, Http(server), features), Sender(folder, Grpc(server), features)
    body = http.body()
    assert grpc.wire.send(http.seal(body).format(), body).reason == "signature"


@pytest.mark.parametrize("other", ["the Conv in front of the cut"])
def test_a_split_at_another_place_with_the_same_shape_is_refused(folder, server, features, tmp_path, other):
    """Its features would fit: only the hash of the tail tells."""
    import onnx

    graph = onnx.load(ALEXNET).graph
    before = next(n.input[0] for n in graph.node if n.output[0] == CUT)
    assert main(["split", str(ALEXNET), "--at", before, "-o", str(tmp_path / "parts"), "--json"]) == 0
    with edgerun.Session(tmp_path / "parts/head.onnx") as head:
        x = head.run(sample(ALEXNET)).outputs[before]
    assert x.shape == features[1].shape
    sender = Sender(folder, Http(server), (CUT, x))
    sender.model = hashlib.sha256((tmp_path / "parts/tail.onnx").read_bytes()).hexdigest()
    assert sender.good().reason == "model_hash"


def test_the_length_of_the_json_is_held_by_the_signed_body(folder, server, features):
    """The one header beside the envelope that says how a body is read: with any other value it does not fit the body."""
    sender = Sender(folder, Http(server), features)
    head = json.dumps({"inputs": [{"name": CUT, "shape": list(sender.x.shape), "datatype": "FP32",
                                   "parameters": {"binary_data_size": sender.x.nbytes}}]}).encode()
    body = head + sender.x.tobytes()
    length = "Inference-Header-Content-Length"
    assert sender.wire.send(sender.seal(body).format(), body, **{length: str(len(head))}).reason == ""
    others = [sender.wire.send(sender.seal(body).format(), body, **{length: str(n)}).reason
              for n in (0, 1, len(head) - 1, len(head) + 1, len(head) + 4, len(body), len(body) + 1, -1)]
    assert "" not in others and "internal" not in others


def test_any_client_can_sign_what_it_sends(server, features, truth):
    """The lines of docs/security.md, with the body that tritonclient makes."""
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    Sender.epoch += 1
    tensor = triton.InferInput(features[0], list(features[1].shape), "FP32")
    tensor.set_data_from_numpy(features[1])
    model = next(iter(server.ready["models"].values()))
    host = f"localhost:{server.ready['http']}"
    scope = {"signer": Signer("cam-1", KEY, Sender.epoch), "tensor": tensor, "model_sha256": model, "host": host}
    server.sent += 1
    exec(compile(code, "docs/security.md", "exec"), scope)
    length = int(scope["answer"].getheader("Inference-Header-Content-Length", 0)) or None
    result = triton.InferenceServerClient.parse_response_body(scope["answer"].read(), header_length=length)
    scope["connection"].close()
    assert {k: result.as_numpy(k).tobytes() for k in truth} == {k: v.tobytes() for k, v in truth.items()}


def test_a_revocation_holds_without_a_restart(folder, server, wire, features):
    key = DeviceKey.generate()
    ring, entry = KeyRing(folder / "keys.json"), Entry("cam-9", key.public.hex())
    sender, said = Sender(folder, wire, features), []
    for change in (None, entry, replace(entry, revoked=time.time()), replace(entry, revoked=time.time())):
        if change is not None:
            ring.put(change)
        said.append(wire.send(sender.seal(key=key, device="cam-9").format(), sender.body()).reason)
    assert said == ["key_unknown", "", "key_revoked", "key_revoked"]


def test_keys_overlap_while_they_rotate(sender):
    """The next key is used, then the old one, then both, each with its own numbers."""
    def send(key, seq):
        return sender.wire.send(sender.seal(key=key, seq=seq).format(), sender.body()).reason

    assert [send(*one) for one in ((NEXT, 1), (KEY, 1), (NEXT, 2), (KEY, 1))] == ["", "", "", "replay"]


def test_a_lost_answer_is_given_again_and_computed_once(folder, features, truth, tmp_path):
    """Where answers are kept: the same envelope gets the same answer, marked; with another body it does not."""
    with serving(f"tail={folder / 'parts'}", "--keys", folder / "keys.json", "--replay", tmp_path / "replay.db") as server:
        sender = Sender(folder, Http(server), features)
        body = sender.body()
        header = sender.seal(body).format()
        first, again = sender.wire.send(header, body), sender.wire.send(header, body)
        other = sender.body(data=(sender.x + 1).ravel().tolist())
        changed = sender.wire.send(sender.seal(other, seq=sender.seq).format(), other)
        ran = [e for e in server.all_requests() if "compute_ms" in e]
    assert (first.reason, again.reason, changed.reason) == ("", "", "replay")
    assert not first.parameters.get("repeated") and again.parameters["repeated"] is True and len(ran) == 1
    assert {k: v.tobytes() for k, v in again.outputs.items()} == {k: v.tobytes() for k, v in truth.items()}
