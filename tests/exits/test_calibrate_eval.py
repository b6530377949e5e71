"""`edgerun calibrate` and `edgerun eval` from end to end, on a three-exit model of real digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgerun
from edgerun.errors import DataError, OptionError, PolicyError
from edgerun.exits import KEY, store
from edgerun_tools import calibrate as calibrate_module
from edgerun_tools import cli, exit_runs
from edgerun_tools.calibrate import calibrate
from edgerun_tools.evaluate import evaluate

EXITS = ["coarse", "fine", "final"]


def digits_model(digits) -> onnx.ModelProto:
    """The classifiers of the fixture as one ONNX file: 2x2 means, all pixels, all pixels through 400 hidden units."""
    arrays = {"w1": digits.first[0], "b1": digits.first[1], "w2": digits.second[0], "b2": digits.second[1],
              "wh": digits.hidden[0], "bh": digits.hidden[1], "w3": digits.last[0], "b3": digits.last[1]}
    nodes = [helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("Flatten", ["small"], ["flat1"]), helper.make_node("Gemm", ["flat1", "w1", "b1"], ["coarse"]),
             helper.make_node("Flatten", ["image"], ["flat2"]), helper.make_node("Gemm", ["flat2", "w2", "b2"], ["fine"]),
             helper.make_node("Gemm", ["flat2", "wh", "bh"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "w3", "b3"], ["final"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "digits", [info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
                              [info(e, TensorProto.FLOAT, ["batch", 10]) for e in EXITS],
                              [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    preprocess = {"layout": "NCHW", "color": "L", "size": [8, 8], "resize": "bilinear", "scale": 1 / 255, "mean": [0.0],
                  "std": [1.0]}
    for key, value in (("edgerun.exits", EXITS), ("edgerun.labels", [str(d) for d in range(10)]),
                       ("edgerun.preprocess", preprocess)):
        model.metadata_props.add(key=key, value=json.dumps(value))
    return model


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory) -> Path:
    """plain.onnx, calibration.npz, test.npz."""
    root = tmp_path_factory.mktemp("digits")
    onnx.save(digits_model(digits), root / "plain.onnx")
    for name, part in (("calibration", slice(700, 1300)), ("test", slice(1300, None))):
        np.savez(root / f"{name}.npz", x=digits.images[part], y=digits.labels[part])
    return root


@pytest.fixture(scope="module")
def calibrated(folder) -> Path:
    out = folder / "calibrated.onnx"
    calibrate(str(folder / "plain.onnx"), str(folder / "calibration.npz"), str(out), max_loss=1.5, threads=1, timing_s=0.5)
    return out


@pytest.fixture(scope="module")
def report(calibrated, folder) -> dict:
    return evaluate(str(calibrated), str(folder / "test.npz"), threads=1)


def test_records_are_the_networks_own(folder, digits) -> None:
    data = exit_runs.load(str(folder / "test.npz"), limit=50)
    with edgerun.Session(str(folder / "plain.onnx"), threads=1) as session:
        logits = exit_runs.record(session, exit_runs.Tensors(session, data))
    picked = np.linspace(0, len(digits.test) - 1, 50).astype(int)
    assert np.array_equal(data.labels, digits.test.labels[picked])
    np.testing.assert_allclose(logits, digits.test.logits[:, picked], atol=1e-4)


def test_pixels_are_the_images(folder, digits) -> None:
    data = exit_runs.load(str(folder / "test.npz"))
    with edgerun.Session(str(folder / "plain.onnx"), threads=1) as session:
        pixels = exit_runs.Pixels(exit_runs.Tensors(session, data))
        np.testing.assert_allclose(pixels[3:9], digits.images[1303:1309] / 255.0, atol=1e-6)
    assert pixels.shape == (497, 8, 8, 1)


def test_calibration_is_in_the_file_and_the_graph_is_untouched(calibrated, folder) -> None:
    before, after = onnx.load(folder / "plain.onnx"), onnx.load(calibrated)
    assert before.graph == after.graph
    onnx.checker.check_model(after, full_check=True)
    text = {p.key: p.value for p in after.metadata_props}[KEY]
    c = store.loads(text, 3, store.graph_digest(after))
    assert set(c.policies) == {"dart", "confidence", "entropy", "patience"}
    assert c.data["images"] == 600 and c.costs[-1] == 1 and list(c.costs) == sorted(c.costs)
    assert len(text) < 40_000


def test_uncalibrated_dart_names_the_command(folder) -> None:
    with pytest.raises(PolicyError, match="edgerun calibrate MODEL --data"):
        edgerun.Session(str(folder / "plain.onnx"), exit_policy="dart")


def test_calibration_of_another_graph_is_refused(calibrated, folder) -> None:
    model = onnx.load(calibrated)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(
        numpy_helper.to_array(model.graph.initializer[0]) + 1, model.graph.initializer[0].name))
    with pytest.raises(PolicyError, match="another graph"):
        edgerun.Session(model.SerializeToString(), exit_policy="dart")


def test_report_is_complete_and_consistent(report, digits) -> None:
    assert report["schema"] == "edgerun.eval/1" and report["data"]["images"] == 497
    assert list(report["policies"]) == ["static", "none", "confidence", "entropy", "dart"]
    last = digits.test.correct[-1].mean()
    for name in ("static", "none"):
        assert report["policies"][name]["accuracy"] == pytest.approx(last, abs=0.003)
    for row in report["policies"].values():
        assert sum(row["exit_shares"]) == pytest.approx(1)
        assert row["mean_ms"] > 0 and row["median_ms"] <= row["p95_ms"] and row["findings"] == 0
    assert report["policies"]["dart"]["mean_macs"] < report["policies"]["none"]["mean_macs"]
    json.dumps(report, allow_nan=False)


def test_early_exit_holds_the_promised_loss(report) -> None:
    for name in ("confidence", "entropy", "dart"):
        row = report["policies"][name]
        assert row["loss_points"] <= 1.5 + 1.0
        assert sum(row["exit_shares"][:-1]) > 0.3


def test_simulation_agrees_with_the_executor(calibrated, folder, digits) -> None:
    """What calibration believes about a policy is what the runtime does with it."""
    from edgerun.exits.simulate import leave_at

    with edgerun.Session(str(calibrated), exit_policy="dart", threads=1) as session:
        data = exit_runs.load(str(folder / "test.npz"))
        tensors = exit_runs.Tensors(session, data)
        runs = [session.run(tensors[i]) for i in range(len(tensors))]
        records = digits.test
        alpha = session.calibration.difficulty.alpha(exit_runs.components(exit_runs.Pixels(tensors),
                                                                          session.calibration.difficulty.tau_edge))
        policy = session.policy
    assert [r.difficulty for r in runs] == pytest.approx(list(alpha), abs=2e-3)
    taken = np.array([r.exit.index for r in runs])
    own, calibrations = (leave_at(policy, type(records)(records.logits, records.labels, a, records.costs))
                         for a in (np.array([r.difficulty for r in runs]), alpha))
    assert np.mean(taken == own) > 0.997  # but for logits within float32's rounding of a threshold
    assert np.mean(taken == calibrations) > 0.99


def test_evaluating_on_the_calibration_images_warns(calibrated, folder, capsys) -> None:
    evaluate(str(calibrated), str(folder / "calibration.npz"), ["none"], threads=1)
    assert "calibrated on" in capsys.readouterr().err


def test_plots(calibrated, folder) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    out = folder / "fronts.png"
    report = evaluate(str(calibrated), str(folder / "test.npz"), ["none", "dart"], limit=60, threads=1, plot=str(out))
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert {"dart", "confidence", "entropy", "patience"} <= set(report["fronts"])
    assert all(0 < p["cost"] < 10 and 0 <= p["accuracy"] <= 1 for front in report["fronts"].values() for p in front)


def test_a_model_without_exits_is_evaluated_plainly(folder, digits, capsys) -> None:
    model = digits_model(digits)
    del model.graph.output[:2]
    del model.metadata_props[0]
    onnx.save(model, folder / "single.onnx")
    report = evaluate(str(folder / "single.onnx"), str(folder / "test.npz"), limit=60, threads=1)
    assert list(report["policies"]) == ["none"] and report["policies"]["none"]["accuracy"] > 0.9
    assert "no early exits" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(PolicyError, match="model with early exits"):
        calibrate(str(folder / "single.onnx"), str(folder / "calibration.npz"), str(folder / "never.onnx"))


@pytest.mark.parametrize(("settings", "error", "says"), [
    ({"max_loss": -1.0}, OptionError, "--max-loss"), ({"beta": 0.0}, OptionError, "--beta"),
    ({"part": "test"}, DataError, "leave --part away"), ({"part": "mine"}, DataError, "expected one of"),
])
def test_wrong_settings(folder, settings: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        calibrate(str(folder / "plain.onnx"), str(folder / "calibration.npz"), str(folder / "never.onnx"), **settings)
    assert not (folder / "never.onnx").exists()


def test_too_few_images(folder, digits) -> None:
    np.savez(folder / "few.npz", x=digits.images[:50], y=digits.labels[:50])
    with pytest.raises(DataError, match="at least 200"):
        calibrate(str(folder / "plain.onnx"), str(folder / "few.npz"), str(folder / "never.onnx"))


def test_missing_matplotlib_is_said_before_the_work(folder, monkeypatch) -> None:
    import builtins

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a, **k: (_ for _ in ()).throw(ImportError(name))
                        if name == "matplotlib" else real(name, *a, **k))
    monkeypatch.setattr(calibrate_module.exit_runs, "load", lambda *a, **k: pytest.fail("began to work"))
    with pytest.raises(OptionError, match=r"edgerun\[plot\]"):
        calibrate(str(folder / "plain.onnx"), str(folder / "calibration.npz"), plot="x.png")


def test_commands(calibrated, folder, capsys) -> None:
    assert cli.main(["eval", str(calibrated), "--data", str(folder / "test.npz"), "--policies", "none,dart", "--limit", "60",
                     "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"]["dart"]["speedup"] > 0
    again = folder / "again.onnx"
    again.write_bytes(calibrated.read_bytes())
    assert cli.main(["calibrate", str(again), "--data", str(folder / "calibration.npz"), "--max-loss", "0.5", "--beta", "0.05",
                     "--threads", "1"]) == 0
    assert "cross-validated" in capsys.readouterr().out
    entries = [p.value for p in onnx.load(again).metadata_props if p.key == KEY]
    assert len(entries) == 1, "a new calibration replaces the old one"
    assert json.loads(entries[0])["expected"]["max_loss"] == 0.5
    assert cli.main(["calibrate", str(folder / "plain.onnx"), "--data", str(folder / "none.npz")]) == 4
