"""`edgerun harden` on real networks: the same answers, no false alarm, weight faults found at every level of ONNX Runtime's
optimiser, in the file and in what the optimiser made of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun.importer.read import read
from edgerun_tools import cli
from edgerun_tools.data import data_root
from edgerun_tools.hardening import FAULT, KEY, STEPS, harden_model
from edgerun_tools.hardening.campaign import LEVELS, campaign, clean, optimised, session, summary
from edgerun_tools.hardening.graph import PREFIX
from edgerun_tools.models_inputs import SHAPES, inputs_of

pytest.importorskip("onnxruntime", reason="runs the hardened models")
pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "models" / "zoo"
MNIST = ZOO / "mnist_alexnet" / "model.onnx"
DIGITS = ROOT / "tests" / "exits" / "digits.npz"
MODELS = {p.stem: p for p in sorted((data_root() / "models").glob("*.onnx"))}
CAMPAIGNS = ("mlperf_resnet8_cifar10_fp32", "mlperf_dscnn_kws_fp32", "mlperf_ad01_fp32", "vit_cifar10_pgd_2_3_16")


@pytest.fixture(scope="module")
def mnist():
    """(the model, hardened, real digits as its inputs)."""
    model = read(MNIST).proto
    with Session(MNIST) as opened, np.load(DIGITS) as stored:
        name, recipe = opened.inputs[0].name, opened.preprocess
        digits = [{name: recipe.apply(x)} for x in stored["x"]]
    return model, harden_model(model), digits


def outputs(runner, feeds):
    names = [o.name for o in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds), strict=True))


# -- the network stays what it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_outputs_keep_their_bits(mnist, level):
    model, hardened, digits = mnist
    before, after = (session(m.SerializeToString(), level) for m in (model, hardened.model))
    for feeds in digits[:50]:
        expected, found = outputs(before, feeds), outputs(after, feeds)
        assert list(found) == [*expected, FAULT, STEPS]
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_no_false_alarm_on_all_digits(mnist):
    _, hardened, digits = mnist
    assert len(digits) == 1797
    assert clean(hardened.model, digits) == 0


def test_a_batch_is_checked_too(mnist):
    _, hardened, digits = mnist
    name = next(iter(digits[0]))
    found = outputs(session(hardened.model.SerializeToString()), {name: np.concatenate([d[name] for d in digits[:64]])})
    assert not found[FAULT] and found["final"].shape == (64, 10)


def test_the_graph_is_standard_onnx(mnist):
    _, hardened, _ = mnist
    onnx.checker.check_model(hardened.model, full_check=True)
    assert {n.domain for n in hardened.model.graph.node} == {""}


def test_the_names_of_the_checks_are_in_the_file(mnist):
    _, hardened, _ = mnist
    held = json.loads(next(p.value for p in hardened.model.metadata_props if p.key == KEY))
    assert held["checks"] == [vars(c) for c in hardened.checks]
    steps = next(o for o in hardened.model.graph.output if o.name == STEPS)
    assert [d.dim_value for d in steps.type.tensor_type.shape.dim] == [len(hardened.checks)]
    convolutions = {n.name for n in hardened.model.graph.node if n.op_type in ("Conv", "Gemm") and not n.name.startswith(PREFIX)}
    assert {c.layer for c in hardened.checks if c.kind == "abft"} == convolutions


def test_our_runtime_runs_it(mnist):
    model, hardened, digits = mnist
    with Session(model.SerializeToString(), threads=1) as first, Session(hardened.model.SerializeToString(), threads=1) as second:
        for feeds in digits[:20]:
            a, b = first.run(feeds).outputs, second.run(feeds).outputs
            assert not b[FAULT] and not b[STEPS].any()
            for name, value in a.items():
                np.testing.assert_allclose(b[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max())


def test_our_runtime_sees_a_changed_weight(mnist):
    _, hardened, digits = mnist
    faulty = onnx.ModelProto()
    faulty.CopyFrom(hardened.model)
    weight = next(i for i in faulty.graph.initializer if not i.name.startswith(PREFIX) and len(i.dims) == 4)
    values = np.array(numpy_helper.to_array(weight))
    values.reshape(-1)[values.size // 2] *= -64
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    found = Session(faulty.SerializeToString(), threads=1).run(digits[3]).outputs
    named = [c.layer for c, wrong in zip(hardened.checks, found[STEPS], strict=True) if wrong]
    reader = next(n for n in hardened.model.graph.node if weight.name in n.input)
    assert found[FAULT] and named == [reader.name]


# -- faults in weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "level"), [
    ("file", "all"), *(pytest.param("memory", level, marks=() if level == "all" else pytest.mark.slow) for level in LEVELS)])
def test_weight_faults_that_change_an_answer_are_flagged(mnist, where, level):
    _, hardened, digits = mnist
    flips = campaign(hardened.model, digits[::180], 120, where=where, level=level, seed=sorted(LEVELS).index(level))
    found = summary(flips)
    assert found["answer"][1] > 10  # else nothing was tried
    assert found["answer"][0] == found["answer"][1]
    assert found["silent"] == 0
    missed = [f for f in flips if f.outcome == "noticeable" and not f.flagged]
    assert len(missed) <= 2


def test_a_fault_that_the_runtime_refuses_to_load_is_told():
    """A flipped scale of Resize, which ONNX Runtime does not take."""
    held = [numpy_helper.from_array(np.full((1, 1, 1, 1), 0.7, np.float32), "w"), numpy_helper.from_array(np.float32([1, 1, 2, 2]), "s")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Resize", ["c", "", "s"], ["y"], mode="linear")]
    infos = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, d)] for n, d in (("x", [1, 1, 4, 4]), ("y", [1, 1, 8, 8]))]
    model = helper.make_model(helper.make_graph(nodes, "g", *infos, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).random((1, 1, 4, 4), np.float32)
    flips = campaign(harden_model(model).model, [{"x": x}], 60, where="file")
    assert [f for f in flips if f.outcome == "refused" and f.tensor == "s"]
    assert all(f.flagged for f in flips if f.outcome == "refused")


@pytest.mark.parametrize("level", LEVELS)
def test_optimisers_leave_golden_copies_apart(mnist, level):
    """All of them are in the optimised model, bit for bit; no weight serves twice."""
    _, hardened, _ = mnist
    before = {i.name: numpy_helper.to_array(i) for i in hardened.model.graph.initializer if "/golden" in i.name}
    after = [(i.name, numpy_helper.to_array(i)) for i in optimised(hardened.model, level).graph.initializer]
    lost = [name for name, golden in before.items() if not any(_holds(a, golden) for _, a in after)]
    assert before and not lost


def _holds(found, golden):
    """The same numbers, perhaps in another order or padded, as blocked layouts have them."""
    if found.dtype != golden.dtype or found.size < golden.size:
        return False
    return np.array_equal(np.sort(found[found != 0], axis=None), np.sort(golden[golden != 0], axis=None))


# -- other models, where the data are -----------------------------------------------------------------------------------


def inputs_for(name, model, count):
    with Session(model.SerializeToString(), shapes=SHAPES.get(name, {})) as opened:
        found = inputs_of(name, opened, data_root())
    return [found.feeds(k) for k in found.spread(count)]


@pytest.mark.skipif(not MODELS, reason="the data folder (EDGERUN_DATA) is not there")
@pytest.mark.parametrize("name", MODELS or ["none"])
def test_models_of_the_data_folder(name):
    """Clean runs at both ends of the optimiser; with it off, even quantised models keep their bits."""
    model = read(MODELS[name]).proto
    hardened = harden_model(model)
    written_out = any(n.op_type.startswith("QLinear") for n in model.graph.node)
    for level in ("none", "all"):
        before, after = (session(m.SerializeToString(), level) for m in (model, hardened.model))
        for feeds in inputs_for(name, model, 2):
            expected, found = outputs(before, feeds), outputs(after, feeds)
            assert not found[FAULT], [c for c, wrong in zip(hardened.checks, found[STEPS], strict=True) if wrong]
            if level == "none" and not written_out:
                for n, value in expected.items():
                    np.testing.assert_array_equal(found[n], value, err_msg=n)


@pytest.mark.skipif(not MODELS, reason="the data folder (EDGERUN_DATA) is not there")
@pytest.mark.parametrize("where", ["file", "memory"])
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_faults_in_other_networks(name, where):
    model = read(MODELS[name]).proto
    found = summary(campaign(harden_model(model).model, inputs_for(name, model, 8), 100, where=where))
    assert found["answer"][1] > 5
    assert found["answer"][0] == found["answer"][1] and found["silent"] == 0


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def harden(capsys):
    """Runs the command with --json; returns (exit code, report or None, stderr)."""

    def call(*words):
        code = cli.main(["harden", *map(str, words), "--threads", "1", "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


def test_the_command_writes_and_reports(harden, tmp_path):
    out = tmp_path / "hardened.onnx"
    code, report, _ = harden(MNIST, "-o", out)
    assert code == 0
    assert report["schema"] == "edgerun.harden/1" and report["requested"] == ["abft", "maed", "weights", "finite"]
    assert report["bytes"]["after"] == out.stat().st_size
    assert report["trial"]["edgerun"]["equal"] is not None and report["trial"]["onnxruntime"] == {"worst": 0.0, "equal": True, "flags": []}
    by_operator = {row["operator"]: row for row in report["layers"]}
    assert by_operator["Conv"]["checks"] == ["abft"] and by_operator["Relu"]["checks"] == ["maed"]
    assert by_operator["MaxPool"]["reason"] == "no check for this operator"
    assert report["exit_calibration"]["dropped"]
    with Session(out) as opened, Session(MNIST) as given:
        assert (opened.exits, opened.labels, opened.preprocess) == (given.exits, given.labels, given.preprocess)


def test_the_table_names_every_layer(tmp_path, capsys):
    assert cli.main(["harden", str(MNIST), "-o", str(tmp_path / "h.onnx"), "--checks", "abft"]) == 0
    text = capsys.readouterr().out
    assert text.count("abft") == 11 and "none: no check" in text
    assert "operators that move values" in text and "written into" in text


def test_ranges_from_calibration_inputs_and_again_from_the_file(harden, tmp_path):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    code, report, _ = harden(MNIST, "-o", first, "--data", DIGITS, "--limit", 40)
    assert code == 0 and "range" in report["requested"]
    held = next(p.value for p in onnx.load(first).metadata_props if p.key == "edgerun.ranges")
    (tmp_path / "ranges.json").write_text(held)
    code, again, _ = harden(MNIST, "-o", second, "--ranges", tmp_path / "ranges.json")
    assert code == 0 and again["checks"] == report["checks"]
    found = onnx.load(second)
    assert {c["kind"] for c in report["checks"]} == {"abft", "maed", "finite", "range above", "range below"}
    with Session(MNIST) as opened, np.load(DIGITS) as stored:
        digits = [{opened.inputs[0].name: opened.preprocess.apply(x)} for x in stored["x"][::9]]
    assert clean(found, digits) == 0


@pytest.mark.parametrize(("words", "code", "text"), [
    (["--checks", "abft,crc"], 2, "--checks: expected some of abft"),
    (["--checks", "range"], 2, "expected ranges to check"),
    (["--arithmetic", "int4"], 2, "--arithmetic: expected float32, tf32"),
    (["--ranges", "absent.json"], 4, "--ranges absent.json: expected a JSON file"),
])
def test_wrong_options(harden, tmp_path, words, code, text):
    found, report, err = harden(MNIST, "-o", tmp_path / "h.onnx", *words)
    assert (found, report) == (code, None) and text in err
    assert not (tmp_path / "h.onnx").exists()


@pytest.mark.parametrize("text", ["[]", "{}", '{"y": [1]}', '{"y": [2, 1]}', '{"y": ["a", 1]}', '{"y": [0, NaN]}', "{"])
def test_malformed_ranges(harden, tmp_path, text):
    (tmp_path / "ranges.json").write_text(text)
    code, _, err = harden(MNIST, "-o", tmp_path / "h.onnx", "--ranges", tmp_path / "ranges.json")
    assert code == 4 and "ranges.json: " in err and "expected" in err


def test_the_model_itself_is_not_overwritten(harden, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MNIST.read_bytes())
    code, _, err = harden(path, "-o", path)
    assert code == 2 and "expected another file than the model" in err
    assert path.read_bytes() == MNIST.read_bytes()


def test_a_hardened_model_is_refused(harden, tmp_path):
    out = tmp_path / "h.onnx"
    assert harden(MNIST, "-o", out)[0] == 0
    code, _, err = harden(out, "-o", tmp_path / "again.onnx")
    assert code == 3 and "harden the model that this one was made from" in err
