"""`edgerun split`: the parts compute what the whole does, in any runtime; exits stay on their side; wrong cuts are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import edgerun
from edgerun.errors import ModelFormatError, OptionError
from edgerun.splits import Manifest
from edgerun_tools.cli import main
from edgerun_tools.split import latency
from edgerun_tools.split.cut import Splitter

ZOO = Path(__file__).resolve().parents[2] / "models/zoo"
MNIST = str(ZOO / "mnist_alexnet/model.onnx")
BEHIND_EXIT1, BEHIND_EXIT2 = "/segments.1/segments.1.2/Relu_output_0", "/segments.2/segments.2.1/segments.2.1.2/Relu_output_0"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "digits.npz"
    held = np.load(Path(__file__).resolve().parents[1] / "exits/digits.npz")
    np.savez(path, x=held[next(k for k in held.files if held[k].ndim >= 3)][:40])
    return str(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory, digits):
    out = tmp_path_factory.mktemp("parts")
    assert main(["split", MNIST, "--at", BEHIND_EXIT2, "--data", digits, "-o", str(out), "--json"]) == 0
    return out


def _rows(digits):
    from edgerun_tools import quantize_data

    with edgerun.Session(MNIST, checks="off") as session:
        rows = quantize_data.load(session, digits)
        return [rows[k] for k in range(len(rows))]


def test_parts_are_the_whole_in_onnx_runtime_too(parts, digits):
    head, tail, whole = (onnxruntime.InferenceSession(str(f)) for f in (parts / "head.onnx", parts / "tail.onnx", MNIST))
    feeds = _rows(digits)[0]
    local = dict(zip([o.name for o in head.get_outputs()], head.run(None, feeds), strict=True))
    final = tail.run(["final"], {BEHIND_EXIT2: local[BEHIND_EXIT2]})[0]
    expected = dict(zip([o.name for o in whole.get_outputs()], whole.run(None, feeds), strict=True))
    assert set(local) == {"exit1", "exit2", BEHIND_EXIT2}
    np.testing.assert_allclose(final, expected["final"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(local["exit1"], expected["exit1"], rtol=1e-5, atol=1e-5)


def test_the_manifest_says_what_was_measured(parts, digits):
    m = Manifest.read(parts)
    assert (m.head.exits, m.tail.exits) == (("exit1", "exit2"), ("final",))
    assert m.verified == {"inputs": 40, "worst": 0.0, "same_bits": 40}
    assert [t["shape"] for t in m.tensors] == [[1, 96, 7, 7]] and m.wire["int8"]["bytes"] == 96 * 49
    assert m.wire["int8"]["same_answer"] >= 38 and 0 < m.wire["int8"]["worst"] < 0.05


@pytest.mark.parametrize("policy", ["dart", "confidence", "entropy"])
def test_a_head_leaves_where_the_whole_does(parts, digits, policy):
    rows = _rows(digits)
    with edgerun.Session(MNIST, exit_policy=policy) as whole, edgerun.Session(parts / "head.onnx", exit_policy=policy) as head:
        taken = [(whole.run(r).exit, head.run(r)) for r in rows]
    assert [a.index for a, _ in taken] == [b.exit.index for _, b in taken]
    assert {b.exit.name for _, b in taken} <= {"exit1", "exit2", BEHIND_EXIT2} and any(a.early for a, _ in taken)
    for a, b in taken:
        assert (b.scores is not None) == a.early  # features are no scores
        assert (BEHIND_EXIT2 in b.outputs) == (not a.early)


def test_a_file_that_changed_is_noticed(parts, tmp_path):
    for f in parts.iterdir():
        (tmp_path / f.name).write_bytes(f.read_bytes())
    (tmp_path / "tail.onnx").write_bytes((parts / "tail.onnx").read_bytes() + b"\0")
    with pytest.raises(ModelFormatError, match="changed since it was split"):
        Manifest.read(tmp_path)


def test_auto_takes_the_soonest(digits, capsys):
    argv = ["split", MNIST, "--auto", "--bandwidth", "100kbit", "--rtt", "1", "--device-scale", "1", "--data", digits, "--json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {r["tensor"]: r for r in told["latency"]["rows"]}
    cuts = [r for t, r in rows.items() if not t.startswith("(")]
    assert told["latency"]["chosen"] == min(cuts, key=lambda r: r["latency_ms"])["tensor"]
    whole = rows[latency.DEVICE_ONLY]["device_ms"]
    assert all(r["device_ms"] + r["server_ms"] == pytest.approx(whole) for r in cuts)  # the same times, device as fast as server
    assert all(r["wire_ms"] == pytest.approx(1 + 8 * r["bytes"] / 100) for r in cuts)
    assert rows[BEHIND_EXIT1]["exits"] == 1 and rows[BEHIND_EXIT2]["exits"] == 2


def test_a_slow_device_sends_and_a_slow_link_does_not(digits, capsys):
    def soonest(*options):
        assert main(["split", MNIST, "--auto", "--json", *options]) == 0
        return min(json.loads(capsys.readouterr().out)["latency"]["rows"], key=lambda r: r["latency_ms"])["tensor"]

    assert soonest("--bandwidth", "10Gbit", "--rtt", "0", "--device-scale", "1000") == latency.SERVER_ONLY
    assert soonest("--bandwidth", "1kbit", "--rtt", "100", "--device-scale", "1") == latency.DEVICE_ONLY


def test_times_of_the_device_come_from_its_profile(tmp_path, capsys):
    assert main(["bench", MNIST, "--profile", "--rounds", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    profile = tmp_path / "device.json"
    for step in found["steps"]:
        step["us"] = step["us_median"] = 1000.0
    profile.write_text(json.dumps(found))
    assert main(["split", MNIST, "--auto", "--device-profile", str(profile), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["latency"]["rows"]
    assert rows[0]["device_ms"] == pytest.approx(len(found["steps"]))
    profile.write_text(json.dumps({"steps": found["steps"][1:]}))
    assert main(["split", MNIST, "--auto", "--device-profile", str(profile)]) != 0
    assert "profile the same file" in capsys.readouterr().err


def test_exits_decide_what_travels(digits, capsys):
    assert main(["split", MNIST, "--auto", "--data", digits, "--exit-policy", "dart", "--json"]) == 0
    rows = {r["tensor"]: r for r in json.loads(capsys.readouterr().out)["latency"]["rows"]}
    with edgerun.Session(MNIST, exit_policy="dart") as session:
        taken = [session.run(r).exit.index for r in _rows(digits)]
    assert rows[BEHIND_EXIT1]["leave"] == pytest.approx(taken.count(0) / len(taken))
    assert rows[BEHIND_EXIT2]["leave"] == pytest.approx((taken.count(0) + taken.count(1)) / len(taken))
    sent = rows[BEHIND_EXIT2]
    assert sent["latency_ms"] < sent["device_ms"] + sent["wire_ms"] + sent["server_ms"]


@pytest.mark.parametrize(("argv", "says"), [
    (["--at", "nothing"], "a node computes.*none of that name; near it"),
    (["--at", "image"], "an input of the model"),
    (["--at", "final"], "tail would be empty|expected a tensor with work"),
    ([], "--at, --auto"),
    (["--auto", "--bandwidth", "fast"], "--bandwidth"),
    (["--auto", "--encoding", "fp8"], "fp32, fp16, int8"),
    (["--auto", "--exit-policy", "dart"], "--data"),
])
def test_wrong_use_is_told(argv, says, capsys):
    assert main(["split", MNIST, *argv]) == 2
    assert __import__("re").search(says, " ".join(capsys.readouterr().err.split()))


def _skip_model() -> onnx.ModelProto:
    """y = relu(a) + relu(relu(a)), a = relu(x): a is needed on both sides of relu(a)."""
    node = onnx.helper.make_node
    nodes = [node("Relu", ["x"], ["a"]), node("Sigmoid", ["a"], ["b"]), node("Tanh", ["b"], ["c"]), node("Add", ["a", "c"], ["y"])]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "skip", [info("x", 1, ["N", 4])], [info("y", 1, ["N", 4])])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def test_a_skip_around_the_cut_is_named(tmp_path):
    onnx.save(_skip_model(), tmp_path / "skip.onnx")
    splitter = Splitter(str(tmp_path / "skip.onnx"))
    with pytest.raises(OptionError, match=r"reads a, too; cut at all of them: --at b --at a"):
        splitter.cut(["b"])
    cut = splitter.cut(["b", "a"])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with edgerun.Session(cut.head.SerializeToString()) as head, edgerun.Session(cut.tail.SerializeToString()) as tail, \
            edgerun.Session(_skip_model().SerializeToString()) as whole:
        assert np.array_equal(tail.run(head.run(x).outputs).outputs["y"], whole.run(x).outputs["y"])  # any batch


def test_the_times_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["split", MNIST, "--auto", "--plot", str(tmp_path / "places.png")]) == 0
    assert (tmp_path / "places.png").read_bytes().startswith(b"\x89PNG")
