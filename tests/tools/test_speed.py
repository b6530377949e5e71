"""The speed table on one 8-bit model with all its twins: what is timed, not how fast."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgerun_tools import speed

DATA = (Path(__file__).parents[2] / os.environ.get("EDGERUN_DATA", "../shared/data")).resolve()
needs_data = pytest.mark.skipif(not (DATA / "models").is_dir(), reason="no data folder; set EDGERUN_DATA")


@needs_data
def test_every_int8_model_of_the_data_folder_is_in_the_table():
    import onnx

    from edgerun_tools.defined import is_quantised

    paths = sorted((DATA / "models").glob("*q*.onnx"))
    assert {p.stem for p in paths if is_quantised(onnx.load(p))} == {r.name for r in speed.INT8}


@needs_data
@pytest.mark.parametrize("reference", speed.INT8, ids=lambda r: r.name)
def test_twins_are_there(reference):
    assert all((DATA / f).exists() for f in (reference.file, reference.litert, reference.fp32) if f)


@needs_data
def test_ratios_to_onnx_runtime_litert_and_our_float32(capsys):
    for peer in ("onnxruntime", "ai_edge_litert"):
        pytest.importorskip(peer, reason="a peer")
    words = ["--int8", "--only", "mlperf_dscnn_kws_int8qdq", "--data", str(DATA), "--rounds", "2", "--threads", "1,2", "--json"]
    assert speed.main(words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["threads"] for r in rows] == [1, 2]
    assert all(set(r["ratio"]) == {"ort", "litert", "fp32"} for r in rows)
    assert all(r["ratio"]["fp32"]["median"] > 0 for r in rows)
