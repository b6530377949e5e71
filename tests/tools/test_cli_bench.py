"""`edgerun bench` and its timing."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgerun_tools import cli, timing


@pytest.fixture
def model(tmp_path, exit_bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    return str(path)


def sleeper(ms: float):
    return lambda: time.sleep(ms / 1e3)


def test_ratios_are_theirs_over_ours():
    found = timing.interleave({"ours": sleeper(1), "theirs": sleeper(3)}, rounds=5, warmup=1)
    r = timing.ratio(found["theirs"], found["ours"])
    assert r["p25"] <= r["median"] <= r["p75"]
    assert 1.5 < r["median"] < 4


def test_every_backend_is_in_every_round():
    calls = {"a": 0, "b": 0}

    def counter(name):
        def call():
            calls[name] += 1

        return call

    found = timing.interleave({n: counter(n) for n in calls}, rounds=4, warmup=2)
    assert {len(t.rounds) for t in found.values()} == {4}
    assert {n: calls[n] for n in calls} == {n: len(t.calls) + 1 + 2 + 4 * timing.WARM_CALLS for n, t in found.items()}


def test_percentiles_are_ordered():
    t = timing.Timing(np.random.default_rng(0).exponential(1, 500), np.ones(5), 1.0).summary()
    values = [t[k] for k in ("min", "p50", "p90", "p95", "p99", "max")]
    assert values == sorted(values)


def bench(capsys, *words):
    code = cli.main(["bench", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_json(capsys, model):
    code, out, _ = bench(capsys, model, "--rounds", "3", "--warmup", "1", "--checks", "both", "--profile", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["schema"] == "edgerun.bench/1"
    assert set(report["backends"]) == {"edgerun", "edgerun, checks off"}
    assert report["rounds"] == 3
    assert report["findings"] == 0
    assert report["latency_ms"]["p50"] > 0
    assert set(report["checks_overhead"]) == {"median", "p25", "p75"}
    assert report["steps"]
    assert {"kernel", "op", "us"} <= set(report["steps"][0])


@pytest.mark.filterwarnings("ignore::edgerun.errors.FaultWarning")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_findings_give_exit_code_5(capsys, tmp_path, model_of, form):
    huge = {"w": np.full((2, 2), 3e38, np.float32)}
    path = tmp_path / "overflows.onnx"
    onnx.save(model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], [("x", TensorProto.FLOAT, [1, 2])],
                       [("y", TensorProto.FLOAT, [1, 2])], huge), path)
    np.save(tmp_path / "x.npy", np.full((1, 2), 100, np.float32))
    code, out, err = bench(capsys, str(path), "--input", str(tmp_path / "x.npy"), "--rounds", "1", "--warmup", "1", *form)
    assert code == 5
    assert json.loads(out)["findings"] > 0 if form else "findings" in err


def test_table(capsys, model):
    code, out, _ = bench(capsys, model, "--rounds", "3", "--warmup", "1", "--profile")
    assert code == 0
    assert "p95" in out
    assert "share" in out


def test_against_onnxruntime_agrees(capsys, model):
    pytest.importorskip("onnxruntime", reason="the peer")
    code, out, _ = bench(capsys, model, "--rounds", "3", "--warmup", "1", "--against", "ort", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ratios"]["ort"]["median"] > 0
    assert report["agreement"]["ort"] < 1e-5


def test_mnn_is_timed_without_its_telemetry(model):
    """MNN.tools runs pip and reports usage to its vendor as soon as it is imported; a fresh process shows we never do."""
    pytest.importorskip("MNN", reason="the peer")
    code = ("import sys; from edgerun_tools.cli import main; code = main(sys.argv[1:]); "
            "sys.exit(code or any(m == 'MNN.tools' or m.startswith(('MNN.tools.', 'aliyun')) for m in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code, "bench", model, "--rounds", "3", "--warmup", "1", "--against", "mnn",
                           "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["agreement"]["mnn"] < 1e-4


def test_litert_needs_its_file(capsys, model):
    code, _, err = bench(capsys, model, "--against", "litert")
    assert code == 2
    assert "--litert-model" in err
