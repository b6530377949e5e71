"""False alarms over inputs of every kind: a clean model has none, and one that is hit is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun.executors import engine
from edgerun.feeds import TensorInfo
from edgerun_tools import false_alarms

ZOO = Path(__file__).parents[2] / "models/zoo"
MNIST = ZOO / "mnist_alexnet/model.onnx"
pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


def test_clean_runs_of_every_family_and_setting(capsys, tmp_path):
    words = ["--runs", "240", "--only", "zoo/mnist", "--zoo", str(ZOO), "--data", str(tmp_path), "--threads", "1,2", "--json"]
    assert false_alarms.main(words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["threads"] for r in rows} == {1, 2} and sum(r["clean"] for r in rows) >= 240
    assert all(r["false"] == 0 and r["schema"] == false_alarms.SCHEMA for r in rows)
    assert {"zeros", "denormals", "1e30", "noise"} <= set(rows[0]["families"])


def test_a_fault_is_an_alarm(monkeypatch, capsys):
    opened = edgerun.Session.__init__

    def struck(self, *args, **kwargs):
        opened(self, *args, **kwargs)
        self.inject(edgerun.Fault("result", 0, 0, 1 << 29, runs=1000))

    monkeypatch.setattr(edgerun.Session, "__init__", struck)
    assert false_alarms.main(["--worker", str(MNIST), "--runs", "5", "--threads", "1"]) == 0
    state = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert state["false"] > 0 and state["first"][0]["step"] == 0


def test_bytes_are_of_their_type_and_range():
    for dtype in (np.int8, np.uint8):
        made = false_alarms.families(TensorInfo("x", ("batch", 3), np.dtype(dtype)), np.random.default_rng(1))
        assert all(f().dtype == dtype and f().shape == (1, 3) for f in made.values())


def test_a_table_sums_up():
    row = {"model": "m", "isa": "avx2", "threads": 1, "checks": "full", "clean": 3000, "false": 0, "overflowed": 2}
    assert false_alarms.table([row, row]).row_count == 3


def test_no_model_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="EDGERUN_DATA"):
        false_alarms.main(["--data", str(tmp_path), "--zoo", str(tmp_path)])
