"""`edgerun bench --profile` and `--trace`."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgerun import Session
from edgerun_tools import cli, common, profiling


@pytest.fixture
def model(tmp_path, exit_bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    return str(path)


@pytest.fixture(scope="module")
def busy(tmp_path_factory, model_of):
    """Two convolutions of 151 million multiply-adds each: milliseconds, so that the call around the steps costs little."""
    rng = np.random.default_rng(0)
    weights = {f"w{k}": rng.standard_normal((64, 64, 3, 3)).astype(np.float32) for k in (1, 2)}
    nodes = [helper.make_node("Conv", ["x", "w1"], ["c"], "first", pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"], "relu"),
             helper.make_node("Conv", ["r", "w2"], ["y"], "second", pads=[1] * 4)]
    path = tmp_path_factory.mktemp("busy") / "busy.onnx"
    shape = [1, 64, 64, 64]
    onnx.save(model_of(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], weights), path)
    return str(path)


@pytest.fixture
def bench(capsys, monkeypatch):
    """Runs a short bench; returns (exit code, stdout, stderr). Tables are as wide as in a pipe, whatever COLUMNS says."""
    monkeypatch.setattr(common.answers, "width", common.PIPE_WIDTH)

    def call(model, *words):
        code = cli.main(["bench", model, "--rounds", "2", "--warmup", "1", "--threads", "1", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def few_runs(monkeypatch):
    monkeypatch.setattr(profiling, "SECONDS", 0.1)


@pytest.mark.usefixtures("few_runs")
def test_json_has_every_step_and_the_sums(bench, model):
    code, out, _ = bench(model, "--profile", "--json")
    report = json.loads(out)
    assert code == 0
    with Session(model) as session:
        plan = session.plan
    assert [(s["kernel"], s["node"], s["op"], s["macs"]) for s in report["steps"]] == [
        (s.kernel, s.node, s.op, s.macs) for s in plan.steps]
    first = report["steps"][0]
    assert {"step", "shape", "us", "us_median", "share", "cumulative", "gflops"} <= set(first)
    assert first["shape"] == list(plan.slots[plan.steps[0].outputs[0]].shape)
    assert first["gflops"] == pytest.approx(2 * first["macs"] / first["us_median"] / 1e3, rel=0.05)
    assert sum(s["share"] for s in report["steps"]) == pytest.approx(1)
    slowest_first = sorted(report["steps"], key=lambda s: s["cumulative"])
    assert slowest_first[-1]["cumulative"] == pytest.approx(1)
    assert [s["us_median"] for s in slowest_first] == sorted((s["us_median"] for s in slowest_first), reverse=True)


@pytest.mark.usefixtures("few_runs")
@pytest.mark.parametrize(("name", "key"), [("by_operator", "op"), ("by_kernel", "kernel")])
def test_groups_hold_every_step_once(bench, model, name, key):
    report = json.loads(bench(model, "--profile", "--json")[1])
    groups = report["profile"][name]
    assert {g[key] for g in groups} == {s[key] for s in report["steps"]}
    assert sum(g["steps"] for g in groups) == len(report["steps"])
    assert sum(g["macs"] for g in groups) == report["macs"]
    assert sum(g["share"] for g in groups) == pytest.approx(1)
    assert [g["us"] for g in groups] == sorted((g["us"] for g in groups), reverse=True)


@pytest.mark.usefixtures("few_runs")
def test_tables_for_people(bench, model):
    code, out, _ = bench(model, "--profile")
    assert code == 0
    lines = out.splitlines()
    heads = [line.split() for line in lines if line.startswith(("step ", "operator ", "kernel "))]
    assert [h[0] for h in heads] == ["step", "operator", "kernel"]
    assert {"node", "operator", "kernel", "shape", "MACs", "median", "share", "cumulative", "GFLOP/s"} <= set(heads[0])
    assert any("conv1" in line and "Conv+Relu" in line and "1x4x4x4" in line for line in lines)
    assert "profiled runs" in lines[-1]


@pytest.mark.usefixtures("few_runs")
def test_without_profile_there_is_none(bench, model):
    report = json.loads(bench(model, "--json")[1])
    assert "steps" not in report
    assert "profile" not in report


def test_step_times_add_up_to_the_run(bench, busy):
    report = json.loads(bench(busy, "--profile", "--json")[1])
    p = report["profile"]
    assert 0.8 * p["run_us"] <= p["steps_us"] <= p["run_us"]
    assert report["steps"][0]["us_median"] > 10  # a convolution of this size takes at least that long on any machine


def test_trace_is_well_formed_nests_and_adds_up(bench, busy, tmp_path):
    path = tmp_path / "trace.json"
    code, out, _ = bench(busy, "--trace", path)
    assert code == 0
    assert "share" not in out  # the table is --profile's
    found = json.loads(path.read_text())
    events = found["traceEvents"]
    assert {e["ph"] for e in events} == {"M", "X"}
    assert {e["name"] for e in events if e["ph"] == "M"} == {"process_name", "thread_name"}
    timed = [e for e in events if e["ph"] == "X"]
    assert all({"name", "cat", "ts", "dur", "pid", "tid", "args"} <= set(e) for e in timed)
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in timed)
    assert [e["ts"] for e in timed] == sorted(e["ts"] for e in timed)
    runs = [e for e in timed if e["cat"] == "run"]
    steps = [e for e in timed if e["cat"] == "step"]
    assert 1 < len(runs) <= profiling.TRACED
    inside = [[s for s in steps if r["ts"] <= s["ts"] < r["ts"] + r["dur"]] for r in runs]
    with Session(busy) as session:
        names = [s.node for s in session.plan.steps]
    assert {tuple(s["args"]["node"] for s in group) for group in inside} == {tuple(names)}
    rounding = 0.01  # times are written with three decimals
    ends = [s["ts"] + s["dur"] - (r["ts"] + r["dur"]) for r, group in zip(runs, inside, strict=True) for s in group]
    assert max(ends) <= rounding
    gaps = [b["ts"] - (a["ts"] + a["dur"]) for group in inside for a, b in pairwise(group)]
    assert min(gaps) >= -rounding
    assert all(b["ts"] >= a["ts"] + a["dur"] - rounding for a, b in pairwise(runs))
    share = [sum(s["dur"] for s in group) / r["dur"] for r, group in zip(runs, inside, strict=True)]
    assert 0.8 <= np.median(share) <= 1


@pytest.mark.usefixtures("few_runs")
def test_profile_goes_to_the_end_whatever_the_policy(bench, model):
    report = json.loads(bench(model, "--profile", "--exit-policy", "confidence", "--json")[1])
    assert all(s["us"] > 0 for s in report["steps"] if s["macs"])


@pytest.mark.usefixtures("few_runs")
def test_trace_that_cannot_be_written(bench, model, tmp_path):
    code, out, err = bench(model, "--trace", tmp_path / "nowhere" / "trace.json")
    assert code == 2
    assert "--trace" in err
    assert "p95" in out  # what was measured is not lost
