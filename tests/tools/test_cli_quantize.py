"""`edgerun quantize` with ONNX Runtime's real quantiser, on a model of the zoo with real digits and on a small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from edgerun import Session
from edgerun_tools import cli, quantize_ort
from edgerun_tools.quantize_ort import Settings

pytest.importorskip("onnxruntime", reason="its quantiser is used")
pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "models" / "zoo" / "mnist_alexnet" / "model.onnx"
DIGITS = ROOT / "tests" / "exits" / "digits.npz"


@pytest.fixture
def quantize(capsys):
    """Runs the command with --json; returns (exit code, report or None, stderr)."""

    def call(*words):
        code = cli.main(["quantize", *map(str, words), "--threads", "1", "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


@pytest.fixture
def model(tmp_path, exit_bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    return path


@pytest.fixture
def images(tmp_path):
    """uint8 [24,4,4] and labels, as .npz."""
    rng = np.random.default_rng(3)
    path = tmp_path / "images.npz"
    np.savez(path, x=rng.integers(0, 256, (24, 4, 4), np.uint8), y=np.arange(24) % 3)
    return path


def constants(path) -> dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def weight_scales(path) -> list[np.ndarray]:
    """Scales of the DequantizeLinears of the Convs' weights."""
    graph, held = onnx.load(path).graph, constants(path)
    weights = {n.input[1] for n in graph.node if n.op_type == "Conv"}
    return [held[n.input[1]] for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] in weights]


# -- a real model -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zoo_result(tmp_path_factory):
    """(report, path) of mnist_alexnet quantised on real digits; every other digit is among the labelled ones too."""
    folder = tmp_path_factory.mktemp("quantised")
    with np.load(DIGITS) as stored:
        x, y = stored["x"][:160], stored["y"][:160]
    np.savez(folder / "calibration.npz", x=x[:80:2])
    np.savez(folder / "test.npz", x=x, y=y)
    from edgerun_tools.quantize import quantize

    out = folder / "small.onnx"
    return quantize(str(MNIST), str(out), str(folder / "calibration.npz"), str(folder / "test.npz"), threads=1), out


def test_images_that_calibrated_do_not_test(zoo_result):
    accuracy = zoo_result[0]["accuracy"]
    assert (accuracy["images"], accuracy["left_out"]) == (120, 40)


def test_a_real_model_keeps_its_answers_and_loses_its_weight(zoo_result):
    report, out = zoo_result
    accuracy = report["accuracy"]
    assert accuracy["exits"] == ["exit1", "exit2", "final"]
    assert accuracy["agreement"] > 0.95
    assert accuracy["loss_points"] == pytest.approx(100 * (accuracy["before"][-1] - accuracy["after"][-1]))
    assert max(abs(a - b) for a, b in zip(accuracy["before"], accuracy["after"], strict=True)) < 0.06
    assert report["bytes"] == {"before": MNIST.stat().st_size, "after": out.stat().st_size}
    assert report["bytes"]["after"] < 0.35 * report["bytes"]["before"]


def test_accuracy_before_is_that_of_eval(zoo_result, capsys):
    """Both commands judge the same float32 model; quantize on the images that did not calibrate, so on another set."""
    folder = zoo_result[1].parent
    with np.load(folder / "test.npz") as stored:
        keep = np.setdiff1d(np.arange(160), np.arange(0, 80, 2))
        np.savez(folder / "rest.npz", x=stored["x"][keep], y=stored["y"][keep])
    assert cli.main(["eval", str(MNIST), "--data", str(folder / "rest.npz"), "--policies", "none", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert zoo_result[0]["accuracy"]["before"][-1] == pytest.approx(report["policies"]["none"]["accuracy"])


def test_metadata_stay_and_the_calibration_of_exits_goes(zoo_result):
    report, out = zoo_result
    before, after = Session(MNIST), Session(out)
    assert (after.exits, after.labels, after.preprocess) == (before.exits, before.labels, before.preprocess)
    assert before.calibration is not None
    assert after.calibration is None
    assert "float32 network" in report["exit_calibration"]["reason"]
    assert report["next"].startswith("edgerun calibrate ")
    made = json.loads(after.metadata["edgerun.quantized"])
    assert made["settings"] == {"format": "qdq", "activations": "int8", "method": "minmax", "per_channel": True}
    assert made["calibration"]["inputs"] == 40


def test_the_result_is_onnx_runtimes_too(zoo_result):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(zoo_result[1]), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["exit1", "exit2", "final"]


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "shapes"), [([], [(4,), (4,)]), (["--per-tensor"], [(), ()])], ids=["channel", "tensor"])
def test_scales_of_weights(quantize, model, images, tmp_path, words, shapes):
    code, report, _ = quantize(model, "-o", tmp_path / "q.onnx", "--calibration", images, *words)
    assert code == 0
    assert report["per_channel"] == (not words)
    assert [s.shape for s in weight_scales(tmp_path / "q.onnx")] == shapes


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_type_of_activations(quantize, model, images, tmp_path, activations):
    out = tmp_path / "q.onnx"
    assert quantize(model, "-o", out, "--calibration", images, "--activations", activations)[0] == 0
    held = constants(out)
    zeros = {held[n.input[2]].dtype for n in onnx.load(out).graph.node if n.op_type == "QuantizeLinear"}
    assert zeros == {np.dtype(activations)}


def ranges(rows, method) -> dict[str, float]:
    """Scales of the activations of mnist_alexnet."""
    graph = quantize_ort.quantise(onnx.load(MNIST), rows, Settings(method=method), lambda k, n: None).graph
    held = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    return {n.input[1]: float(held[n.input[1]]) for n in graph.node if n.op_type == "QuantizeLinear"}


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_the_other_methods_cut_rare_extremes_off(method):
    with Session(MNIST) as session, np.load(DIGITS) as stored:
        rows = [{"image": session.preprocess.apply(image)} for image in stored["x"][:12]]
    all_of_it, found = ranges(rows, "minmax"), ranges(rows, method)
    assert list(found) == list(all_of_it)
    assert all(found[k] <= 1.01 * v for k, v in all_of_it.items())
    assert any(found[k] < 0.99 * v for k, v in all_of_it.items())


def test_qoperator_format(quantize, model, images, tmp_path):
    out = tmp_path / "q.onnx"
    code, report, _ = quantize(model, "-o", out, "--calibration", images, "--data", images, "--limit", "8", "--format", "qoperator",
                               "--activations", "uint8")
    assert code == 0
    assert "QLinearConv" in {n.op_type for n in onnx.load(out).graph.node}
    assert report["accuracy"]["images"] == 16
    assert report["accuracy"]["agreement"] > 0.8


# -- calibration sets -------------------------------------------------------------------------------------------------


def _folder(x, session, path):
    path.mkdir()
    for k, image in enumerate(x):
        Image.fromarray(image).save(path / f"{k:02}.png")
    return path


def _tensors(name, one_by_one):
    def write(x, session, path):
        tensors = np.concatenate([session.preprocess.apply(image) for image in x])
        np.savez(path.with_suffix(".npz"), **{name: tensors[:, None] if one_by_one else tensors})
        return path.with_suffix(".npz")

    return write


def _arrays(x, session, path):
    path.mkdir()
    for k, image in enumerate(x):
        np.save(path / f"{k:02}.npy", session.preprocess.apply(image))
    return path


@pytest.mark.parametrize("write", [_folder, _arrays, _tensors("x", False), _tensors("image", False), _tensors("image", True)],
                         ids=["images", "npy", "x", "named", "one-by-one"])
def test_the_same_inputs_in_another_form_give_the_same_model(quantize, model, images, tmp_path, write):
    with np.load(images) as stored:
        other = write(stored["x"], Session(model), tmp_path / "set")
    assert quantize(model, "-o", tmp_path / "a.onnx", "--calibration", images)[0] == 0
    code, report, _ = quantize(model, "-o", tmp_path / "b.onnx", "--calibration", other)
    assert code == 0
    assert report["calibration"]["inputs"] == 24
    a, b = (onnx.load(tmp_path / f"{n}.onnx").graph for n in "ab")
    assert a == b


def test_limit_takes_inputs_from_the_whole_set(quantize, model, images, tmp_path):
    code, report, _ = quantize(model, "-o", tmp_path / "q.onnx", "--calibration", images, "--data", images, "--limit", "9")
    assert code == 0
    assert report["calibration"]["inputs"] == 9
    assert report["accuracy"]["left_out"] == 9


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_without_onnxruntime_it_says_what_to_install(quantize, model, images, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime.quantization", None)
    code, _, err = quantize(model, "-o", tmp_path / "q.onnx", "--calibration", images)
    assert code == 2
    assert "pip install 'edgerun[quantize]'" in err


def test_no_input_left_to_test_with(quantize, model, images, tmp_path):
    code, _, err = quantize(model, "-o", tmp_path / "q.onnx", "--calibration", images, "--data", images)
    assert code == 4
    assert "--limit" in err
    assert not (tmp_path / "q.onnx").exists()


def test_the_model_is_not_overwritten(quantize, model, images):
    before = model.read_bytes()
    assert quantize(model, "-o", model, "--calibration", images)[0] == 2
    assert model.read_bytes() == before


def test_a_quantised_model_is_not_quantised_again(quantize, model, images, tmp_path):
    assert quantize(model, "-o", tmp_path / "q.onnx", "--calibration", images)[0] == 0
    code, _, err = quantize(tmp_path / "q.onnx", "-o", tmp_path / "qq.onnx", "--calibration", images)
    assert code == 3
    assert "already" in err


@pytest.mark.parametrize(("words", "code"), [
    (["--method", "median"], 2), (["--activations", "int4"], 2), (["--format", "tflite"], 2), (["--limit", "0"], 2),
    (["--calibration", "nowhere"], 4), (["--calibration", "."], 4), (["--out", "nowhere/q.onnx"], 2),
    (["--calibration", "unlabelled.npz", "--data", "unlabelled.npz"], 4),
], ids=lambda w: "-".join(w) if isinstance(w, list) else None)
def test_refusals(quantize, model, images, tmp_path, monkeypatch, words, code):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    np.savez("unlabelled.npz", x=np.zeros((8, 4, 4), np.uint8))
    if words == ["--calibration", "."]:
        Path("unlabelled.npz").unlink()
    found, _, err = quantize(model, "--out", tmp_path / "q.onnx", "--calibration", images, *words)
    assert found == code
    assert "expected" in err or "--limit" in err
    assert not (tmp_path / "q.onnx").exists()


def test_the_table_names_everything(model, images, tmp_path, capsys):
    code = cli.main(["quantize", str(model), "-o", str(tmp_path / "q.onnx"), "-c", str(images), "-d", str(images), "--limit", "8"])
    out = capsys.readouterr().out
    assert code == 0
    assert all(word in out for word in ("accuracy of exit1", "accuracy of final", "KiB", "8 that calibrated left out", "next: "))
