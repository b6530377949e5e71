"""The table of what the presets of checks cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgerun.executors import engine
from edgerun.options import PRESETS
from edgerun_tools import check_cost

ZOO = Path(__file__).parents[2] / "models/zoo"
pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


def test_every_preset_has_its_time_and_memory(capsys):
    assert check_cost.main(["--only", "mnist", "--threads", "1", "--rounds", "3", "--zoo", str(ZOO), "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["schema"] == check_cost.SCHEMA and row["model"] == "zoo/mnist_alexnet" and list(row["presets"]) == list(PRESETS)
    costs = row["presets"]
    assert costs["off"]["overhead"] == 0
    assert costs["off"]["bytes"] < costs["standard"]["bytes"] <= costs["full"]["bytes"]
    assert costs["full"]["overhead"] > 0


def test_the_table_has_means(capsys):
    assert check_cost.main(["--only", "mnist", "--threads", "1", "--rounds", "2", "--zoo", str(ZOO)]) == 0
    out = capsys.readouterr().out
    assert "geometric" in out and "standard" in out


def test_models_that_are_absent_are_named(capsys, tmp_path):
    assert check_cost.main(["--only", "mlperf_ad01", "--data", str(tmp_path)]) == 0
    assert "skipped mlperf_ad01" in capsys.readouterr().err


def test_the_references_cover_what_was_asked_for():
    names = {r.name for r in check_cost.REFERENCES}
    assert names == check_cost._MEASURED
