"""The table of MLPerf Tiny on boards: what a row says, what fails, what is skipped."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import firmware_case as case
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun_tools.boards import Results, Sample, board_of, sweep, sweep_row

ROOT = Path(__file__).parents[2]
DATA = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data")).resolve()


def save(data: Path, stem: str, shape: list[int]) -> None:
    """A dense layer with the name of a model of the data folder."""
    w = np.random.default_rng(1).standard_normal((shape[-1], 3)).astype(np.float32)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*shape[:-1], 3])], [numpy_helper.from_array(w, "w")])
    (data / "models").mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), data / "models" / f"{stem}.onnx")


@pytest.fixture
def data(tmp_path) -> Path:
    """Inputs of the first model are random numbers; those of the second are in a set that is not there."""
    save(tmp_path, "mlperf_ad01_fp32", [1, 20])
    save(tmp_path, "mlperf_dscnn_kws_fp32", [1, 49, 10, 1])
    return tmp_path


def test_a_table(data, capsys):
    page = data / "page.md"
    assert sweep.main(["--data", str(data), "--boards", "host", "--json", "--write", str(page)]) == 0
    rows = {r["model"]: r for r in map(json.loads, capsys.readouterr().out.splitlines())}
    row = rows["mlperf_ad01_fp32"]
    assert (row["schema"], row["ok"], row["kind"], row["count"], row["macs"]) == (sweep.SCHEMA, True, "fp32", 20, 60)
    assert row["inputs"] == "random in -85…15"
    assert row["flash"] > 4 * 60
    assert row["instructions"] > 0
    assert "kws_500.npz" in rows["mlperf_dscnn_kws_fp32"]["skipped"]
    assert rows["mlperf_ad01_int8qdq"]["skipped"] == "models/mlperf_ad01_int8qdq.onnx is not in the data folder"
    text = page.read_text()
    assert "--boards host" in text
    assert "1 of 1 rows agree" in text
    assert "| mlperf_ad01_fp32 | host | this machine | 20 of random in -85…15 |" in text


def test_an_answer_beyond_the_bound_fails(data, monkeypatch, capsys):
    run = sweep_row.run

    def off(*given, **more):
        found = run(*given, **more)
        worst = found.samples[7]
        return replace(found, samples=[*found.samples[:7], replace(worst, outputs={"y": worst.outputs["y"] * np.float32(1.01)}),
                                       *found.samples[8:]])

    monkeypatch.setattr(sweep_row, "run", off)
    assert sweep.main(["--data", str(data), "--boards", "host", "--only", "*ad01_fp32", "--json"]) == sweep.FAILED
    row = json.loads(capsys.readouterr().out)
    assert "found 1 of 20 outside" in row["reasons"][0]
    assert 0.005 < row["worst"] < 0.02


def test_int8_must_have_the_same_bits():
    row = sweep_row.Row("m", "host", "c", kind="int8")
    samples = [Sample({"y": np.array([1, k], np.int8)}, 0, 10.0, 8, {}) for k in (2, 3)]
    found = Results(board_of("host"), None, None, samples, "ok", None, 0, 0.0, 0, "none")
    sweep_row.judge(row, found, [[np.array([1, 2], np.int8)]] * 2)
    assert (row.count, row.equal, row.instructions) == (2, 1, 10.0)
    assert row.reasons == ["expected the engine's bits on every input; found them on 1 of 2",
                           "expected outputs within the bound; found 1 of 2 outside, the worst by 5.0e-01"]


@pytest.mark.parametrize(("a", "b", "off"), [([1.0, np.nan], [1.5, np.nan], 0.5), ([np.inf], [np.inf], 0.0), ([np.inf], [1.0], np.inf),
                                             ([np.nan], [1.0], np.inf)])
def test_differences(a, b, off):
    assert sweep_row.difference(np.array(a, np.float32), np.array(b, np.float32)) == off


@pytest.mark.slow
@pytest.mark.parametrize("board", [case.board(n) for n in sweep.DEFAULT])
@pytest.mark.parametrize("path", list(sweep.named(DATA, "*", variants=True)), ids=lambda p: p.stem)
def test_mlperf_tiny(path, board):
    row = sweep_row.measured(path, board_of(board), DATA)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.reasons == []
    assert row.count >= 20
