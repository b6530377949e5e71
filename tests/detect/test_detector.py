"""A detector trained here on a real zoo network: its file computes what PyTorch does, its thresholds hold, real attacks are found."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the extra detect")
pytest.importorskip("sklearn", reason="needs the extra detect")

import torch

import edgerun
from edgerun.detect import KEY, MODES, Detector
from edgerun.errors import InputError, ModelFormatError, OptionError
from edgerun_tools.cli import main
from edgerun_tools.detect import evaluate, features_of, network, noise
from edgerun_tools.detect.served import ServedTail
from edgerun_tools.detect.train import Settings, train
from edgerun_tools.split.cut import Splitter

ZOO = Path(__file__).resolve().parents[2] / "models/zoo"
MODEL, TENSOR = ZOO / "mnist_alexnet/model.onnx", "/segments.1/segments.1.2/Relu_output_0"
TRAIN, HELD = 1200, 800


@pytest.fixture(scope="module")
def digits():
    """MNIST's test images, uint8 [n, 28, 28, 1], the set that the zoo's network was not trained on behind 7,000."""
    from edgerun_tools import data

    folder = data.data_root() / "sets/mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST in {folder} (EDGERUN_DATA)")
    x, y, _ = data.load_uniform(folder)
    return x[7000:], y[7000:]


@pytest.fixture(scope="module")
def made(digits):
    """(trained, about, detector's bytes, tail, held-out features)."""
    torch.set_num_threads(1)
    cut = Splitter(str(MODEL)).cut([TENSOR])
    x, exits = features_of.run_head(cut, digits[0])
    whole = features_of.Features(x, digits[1], exits)
    tail = ServedTail(cut.tail)
    benign, calibration, test = whole.part(slice(0, TRAIN)), whole.part(slice(TRAIN, TRAIN + HELD)), whole.part(slice(TRAIN + HELD, None))
    trained = train(benign, calibration, tail, Settings(epochs=3, vae_steps=60))
    about = trained.about(TENSOR, "exit1", "mnist", HELD, "h" * 64, "t" * 64)
    return trained, about, network.export(trained.net, about), tail, test


@pytest.fixture(scope="module")
def detector(made):
    with Detector(made[2]) as found:
        yield found


@pytest.mark.parametrize("mode", MODES)
def test_the_engine_computes_what_pytorch_does(made, detector, mode):
    trained, _, _, tail, test = made
    column = MODES.index(mode)
    x = noise.mixture(test.x[:60], trained.reference, np.random.default_rng(1))
    e, t = test.exits[:60, -1] if column % 2 else None, tail.scores(x) if column > 1 else None
    expected = trained.net.run(x, e, t)[0][:, column]
    np.testing.assert_allclose(detector.scores(x, e, t), expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 1  # they differ, so equal is not trivially equal
    one = detector.score(x[:1], None if e is None else e[0], None if t is None else t[:1])
    assert one.mode == mode and one.value == pytest.approx(expected[0], rel=1e-4, abs=1e-4)


def test_nothing_falls_back_to_the_reference(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with edgerun.Session(made[2], strict=True) as session:
            assert session.plan.steps and all(s.kernel != "onnx_graph" for s in session.plan.steps)


def test_metadata_says_what_it_is(made, detector):
    about = detector.about
    assert about == made[1] and about.shape == (1, *made[4].x.shape[1:])
    assert about.rates == (0.01, 0.02, 0.05, 0.1) and set(about.thresholds) == set(MODES)
    assert detector.belongs_to("t" * 64) and not detector.belongs_to("0" * 64)
    lines = [about.threshold("both", r) for r in about.rates]
    assert lines == sorted(lines, reverse=True)


@pytest.mark.parametrize("kinds", [noise.TRAINED, ("laplace",), ("drift",)], ids=["trained", "laplace", "drift"])
def test_false_alarms_on_held_out_images_are_as_many_as_nominal(made, detector, kinds):
    trained, _, _, tail, test = made
    x = noise.mixture(test.x, trained.reference, np.random.default_rng(3), kinds)
    above = detector.scores(x, test.exits[:, -1], tail.scores(x)) > detector.threshold("both")
    spread = 4 * np.sqrt(0.05 * 0.95 * (1 / len(x) + 1 / HELD))  # both the threshold and this count are of samples
    assert 0.05 - spread < above.mean() < 0.05 + spread


@pytest.mark.parametrize("name", ["pgd", "inject", "random"])
def test_a_real_attack_is_found(made, detector, name):
    trained, _, _, tail, test = made
    bench = evaluate.Bench(tail, test, trained.reference, 700, 60, 2.0)
    attacked = bench.make(name)
    (row,) = bench.rows([name], {"both": evaluate.of_file(detector)["both"]}, lambda _: attacked, ["mid"])
    assert row.turned > 0.5 and row.auroc.low > 0.9


def test_what_is_not_finite_is_an_attack(made, detector):
    test = made[4]
    for bad in (np.nan, np.inf, -np.inf):
        x = test.x[:1].copy()
        x[0, 3, 2, 1] = bad
        found = detector.score(x)
        assert found.attack and found.value == np.inf and json.dumps(found.to_dict(), allow_nan=False)
    assert detector.score(test.x[:1], [np.nan] * 10).attack
    assert detector.score(np.full_like(test.x[:1], 3e38)).attack


@pytest.mark.parametrize("feed", [
    lambda x: x[0], lambda x: x.astype(np.float64), lambda x: x[:, :-1], lambda x: x.tolist(), lambda x: np.concatenate([x, x])])
def test_what_does_not_fit_is_refused_by_name(made, detector, feed):
    with pytest.raises(InputError, match="expected float32"):
        detector.score(feed(made[4].x[:1]))


@pytest.mark.parametrize("scores", [[0.0] * 9, [["a"] * 10], [[[0.0] * 10]]])
def test_answers_of_another_size_are_refused(made, detector, scores):
    with pytest.raises(InputError, match="expected 10 numbers"):
        detector.score(made[4].x[:1], scores)


def test_rates_that_were_not_calibrated_and_other_files_are_refused(made):
    with pytest.raises(OptionError, match=r"expected one of 0\.01, 0\.02"):
        Detector(made[2], rate=0.03)
    with pytest.raises(ModelFormatError, match="expected a detector"):
        Detector(MODEL)
    model = onnx.load_from_string(made[2])
    next(p for p in model.metadata_props if p.key == KEY).value = '{"schema": "edgerun.detector/1", "shape": []}'
    with pytest.raises(ModelFormatError, match="expected what `edgerun detect train` writes"):
        Detector(model.SerializeToString())


def test_the_commands_train_and_evaluate(tmp_path, digits, capsys):
    assert main(["split", str(MODEL), "--at", TENSOR, "-o", str(tmp_path / "parts"), "--json"]) == 0
    np.savez(tmp_path / "benign.npz", x=digits[0][:1000], y=digits[1][:1000])
    np.savez(tmp_path / "test.npz", x=digits[0][1000:1600], y=digits[1][1000:1600])
    file = str(tmp_path / "parts/detector.onnx")
    capsys.readouterr()
    assert main(["detect", "train", str(tmp_path / "parts"), "--data", str(tmp_path / "benign.npz"), "-o", file, "--epochs", "2",
                 "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] == {"train": 750, "thresholds": 250} and set(told["thresholds"]) == set(MODES)
    assert main(["detect", "eval", file, str(tmp_path / "parts"), "--data", str(tmp_path / "test.npz"), "--attacks", "inject,random",
                 "--attacked", "40", "--noise", "none,high", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(r["attack"], r["strength"]) for r in rows} == {(a, s) for a in ("inject", "random") for s in ("none", "high")}
    assert min(r["auroc"]["value"] for r in rows if r["detector"] == "both") > 0.8
    assert main(["detect", "train", str(tmp_path / "parts"), "--data", str(tmp_path / "test.npz"), "-o", file]) == 4
    assert "at least 800 inputs" in capsys.readouterr().err
