"""`edgerun ranges`: what it sees is what the model computes, and it stands in the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgerun
from edgerun.errors import DataError
from edgerun.planner import ranges
from edgerun_tools import quantize
from edgerun_tools import ranges as command
from edgerun_tools.cli import main

MNIST = Path(__file__).resolve().parents[2] / "models/zoo/mnist_alexnet/model.onnx"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranges") / "digits.npz"
    np.savez(path, x=np.random.default_rng(1).integers(0, 256, (12, 28, 28), np.uint8))
    return path


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copy(MNIST, tmp_path / "model.onnx"))


def test_ranges_are_those_of_the_results(model, digits, capsys):
    out = model.with_name("ranged.onnx")
    before = model.read_bytes()
    assert main(["ranges", str(model), "--data", str(digits), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["inputs"]) == ("edgerun.ranges/1", 12) and model.read_bytes() == before
    stored = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert ranges.loads(stored[ranges.KEY]) == {k: tuple(v) for k, v in told["ranges"].items()}
    assert set(stored) == {p.key for p in onnx.load(model).metadata_props} | {ranges.KEY}  # calibrated exits are kept

    with edgerun.Session(out, checks="standard", on_fault="restrict") as session:
        rows = command.quantize_data.load(session, str(digits))
        results = [session.run(rows[k]).outputs for k in range(len(rows))]
        for name in session.outputs:
            values = np.concatenate([r[name.name].reshape(-1) for r in results])
            assert told["ranges"][name.name] == [values.min(), values.max()]
        for step in session.plan.steps:
            slot = session.plan.slots[step.outputs[0]] if step.outputs else None
            if slot is not None and step.kernel != "difficulty_f32":
                assert step.attrs["restrict"] == tuple(told["ranges"][slot.name])
                assert step.attrs["restrict"][0] >= 0 or "Relu" not in step.op  # of what comes after a fused activation


def test_in_place_and_once_more(model, digits, capsys):
    found = []
    for limit in (3, 12):
        assert main(["ranges", str(model), "--data", str(digits), "--inputs", str(limit)]) == 0
        assert f"ranges, {limit} inputs" in capsys.readouterr().out
        found += [ranges.loads(p.value) for p in onnx.load(model).metadata_props if p.key == ranges.KEY]
    assert len(found) == 2 and found[0].keys() == found[1].keys() and found[0] != found[1]


def test_quantised_models_and_missing_data(model, digits, tmp_path):
    small = tmp_path / "int8.onnx"
    quantize.quantize(str(model), str(small), str(digits))
    with pytest.raises(DataError, match="found nothing there"):
        command.observe(str(model), str(tmp_path / "none.npz"))
    assert all(np.isfinite(pair).all() for pair in command.observe(str(small), str(digits)).seen.values())


def test_an_infinite_result_is_refused(model, tmp_path):
    path = tmp_path / "large.npz"
    np.savez(path, x=np.full((2, 1, 28, 28), 3e38, np.float32))
    with pytest.raises(DataError, match="expected finite values, found"):
        command.observe(str(model), str(path))
