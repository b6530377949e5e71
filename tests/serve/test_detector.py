"""A detector beside the tail: what becomes of its alarms. The detector's file is a small one made here, of the format that `edgerun detect
train` writes: it takes the largest feature, and the distance between the answers of exit and tail, for the score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper
from running import ALEXNET, post, running, sample

import edgerun
from edgerun.errors import ModelFormatError, OptionError
from edgerun.serve import ModelOptions
from edgerun.splits import Manifest
from edgerun_tools.cli import main

detect = pytest.importorskip("edgerun.detect", reason="needs edgerun.detect")
PATH = "/v2/models/parts/infer"
POINT = "/segments.1/segments.1.2/Relu_output_0"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split") / "parts"
    assert main(["split", str(ALEXNET), "--at", POINT, "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def head(parts) -> tuple[str, np.ndarray, np.ndarray]:
    """Name and values of the features of a real image, and the scores of the device's exit."""
    with edgerun.Session(parts / "head.onnx") as session:
        [name] = [t["name"] for t in Manifest.read(parts).tensors]
        outputs = session.run(sample(ALEXNET)).outputs
    return name, outputs[name], outputs[Manifest.read(parts).head.exits[0]]


def detector_of(model_of, parts, head, tail: str | None = None) -> bytes:
    """scores: [largest feature, the same, |largest|, that and |exit - tail| where both are there]."""
    name, x, _ = head
    limit = float(x.max()) * 2
    axes = list(range(1, x.ndim))
    nodes = [helper.make_node("ReduceMax", ["features"], ["top"], axes=axes, keepdims=0),
             helper.make_node("Sub", ["exit_scores", "tail_scores"], ["apart"]), helper.make_node("Abs", ["apart"], ["far"]),
             helper.make_node("ReduceMax", ["far"], ["distance"], axes=[1], keepdims=0),
             helper.make_node("Add", ["top", "distance"], ["both"]),
             *(helper.make_node("Unsqueeze", [n, "one"], [f"{n}_column"]) for n in ("top", "both", "distance")),
             helper.make_node("Concat", ["top_column", "top_column", "top_column", "both_column"], ["scores"], axis=1),
             helper.make_node("Concat", ["top_column", "distance_column"], ["parts"], axis=1)]
    manifest = Manifest.read(parts)
    thresholds = {m: {"0.05": limit, "0.01": limit * 2} for m in ("features", "exit", "tail")}
    thresholds["both"] = {"0.05": limit + 40, "0.01": limit + 80}
    about = detect.About(name, tuple(x.shape), 10, manifest.head.exits[0], "test", ("top", "distance"), thresholds,
                         tail=manifest.tail.sha256 if tail is None else tail)
    model = model_of(nodes, [("features", TensorProto.FLOAT, ["n", *x.shape[1:]]), ("exit_scores", TensorProto.FLOAT, ["n", 10]),
                             ("tail_scores", TensorProto.FLOAT, ["n", 10])],
                     [("scores", TensorProto.FLOAT, ["n", 4]), ("parts", TensorProto.FLOAT, ["n", 2])],
                     {"one": np.array([1], np.int64)}, {detect.KEY: about.dumps()})
    return model.SerializeToString()


@pytest.fixture(scope="module")
def judged(parts, head, model_of):
    (parts / "detector.onnx").write_bytes(detector_of(model_of, parts, head))
    return parts


@pytest.fixture(scope="module", params=[("refuse", "after"), ("refuse", "before"), ("flag", "after"), ("flag", "before")], ids="-".join)
def server(judged, request):
    with running({"parts": judged}, options=ModelOptions(on_attack=request.param[0], judge=request.param[1])) as found:
        yield found


def sent(server, name: str, x: np.ndarray, **parameters) -> tuple[int, dict]:
    head = json.dumps({"inputs": [{"name": name, "shape": list(x.shape), "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}],
                       "parameters": parameters}).encode()
    code, _, out = post(server.http, PATH, head + x.tobytes(), {"Inference-Header-Content-Length": str(len(head))})
    return code, json.loads(out)


def test_benign_features_are_answered_with_their_score(server, head):
    name, x, _ = head
    code, found = sent(server, name, x)
    said = found["parameters"]
    assert code == 200 and said["attack"] is False
    assert said["attack_score"] == pytest.approx(float(x.max())) and said["attack_threshold"] == pytest.approx(2 * float(x.max()))
    assert (server.events[-1].attack_score, server.events[-1].threshold) == (said["attack_score"], said["attack_threshold"])


def test_an_alarm(server, head):
    name, x, _ = head
    code, found = sent(server, name, x * 3)
    event = server.events[-1]
    assert (event.outcome, event.reason) == ("attack", "attack") and event.attack_score > event.threshold
    if server.server.options.on_attack == "refuse":
        assert (code, found["reason"]) == (422, "attack") and "outputs" not in found
    else:
        assert code == 200 and found["parameters"]["attack"] is True and found["outputs"]


def test_one_bad_sample_of_a_batch_is_enough(server, head):
    name, x, _ = head
    sent(server, name, np.concatenate([x, x * 3, x]))
    assert server.events[-1].outcome == "attack"
    assert sent(server, name, np.concatenate([x, x]))[0] == 200


def test_the_answers_of_exit_and_tail_are_held_together(server, head):
    name, x, scores = head
    assert sent(server, name, x, exit_scores=scores.ravel().tolist())[0] == 200
    sent(server, name, x, exit_scores=(scores + 1000).ravel().tolist())
    assert server.events[-1].outcome == ("attack" if server.server.options.judge == "after" else "ok")


def test_scores_of_another_number(server, head):
    name, x, _ = head
    code, found = sent(server, name, x, exit_scores=[1.0] * 7)
    assert (code, found["reason"]) == (400, "input")


def test_a_detector_of_another_tail_is_refused(parts, head, model_of, tmp_path):
    (tmp_path / "other.onnx").write_bytes(detector_of(model_of, parts, head, "0" * 64))
    with pytest.raises(ModelFormatError, match="sha256"), running({"parts": parts}, detectors={"parts": tmp_path / "other.onnx"}):
        pass


def test_a_rate_that_it_was_not_calibrated_for(judged):
    with pytest.raises(OptionError, match=r"detector\.onnx: rate.*--fpr"), running({"parts": judged}, options=ModelOptions(fpr=0.2)):
        pass


def test_a_model_is_no_detector(parts):
    with pytest.raises(ModelFormatError, match="detector"), running({"parts": parts}, detectors={"parts": ALEXNET}):
        pass
