"""Early exits of generated C on emulated boards: the engine's decisions, and the tool that measures them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import firmware_case as case
import numpy as np
import pytest
from exit_plans import EXITS, POLICIES, image, plan_of
from firmware import agree, of_plan

from edgerun.executors.python import PythonExecutor
from edgerun_tools import boards, firmware_exits
from edgerun_tools.boards.errors import BoardError

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "models/zoo/mnist_alexnet/model.onnx"
DIGITS = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "sets/mnist").resolve()
IMAGES = 24


@pytest.mark.parametrize("policy", ["dart, everything", *(pytest.param(p, marks=pytest.mark.slow) for p in ("entropy", "patience"))])
@pytest.mark.parametrize("name", [case.board("mps2-an500"), case.board("mps2-an385-m0plus")])
def test_a_board_leaves_where_the_executor_leaves(name, policy, tmp_path):
    plan = plan_of(POLICIES[policy])
    of_plan(plan).write(tmp_path)
    x = np.stack([image(seed) for seed in range(IMAGES)])
    results = boards.run(tmp_path, name, x, timeout=120)
    runs = [PythonExecutor(plan).run([one]) for one in x]
    assert results.selftest == 0
    assert [s.report["exit_taken"] for s in results.samples] == [r.exit_index for r in runs]
    assert all(agree(found, r.outputs[r.exit_index]) for found, r in zip(results.outputs(), runs, strict=True))
    assert all(s.report["first_step"] == -1 for s in results.samples)


@pytest.mark.parametrize("name", [case.board("mps2-an500")])
def test_leaving_saves_instructions(name, tmp_path):
    plan = plan_of(POLICIES["dart, everything"])
    of_plan(plan).write(tmp_path)
    samples = boards.run(tmp_path, name, np.stack([image(seed) for seed in range(IMAGES)]), timeout=120).samples
    counts = [[s.count for s in samples if s.report["exit_taken"] == k] for k in range(EXITS)]
    taken = [c for c in counts if c]
    assert len(taken) > 1
    assert all(max(a) < min(b) for a, b in pairwise(taken))


# -- the tool ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [case.board("host"),
                                  pytest.param("mps2-an500", marks=[pytest.mark.slow, *case.board("mps2-an500").marks])])
def test_digits_on_a_board(name, capsys):
    if not DIGITS.is_dir():
        pytest.skip("sets/mnist is not in EDGERUN_DATA")
    code = firmware_exits.main([str(MNIST), "--data", str(DIGITS), "--part", "test", "--limit", "3", "--policies", "static,dart", "--board",
                                name, "--executor", "auto", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["schema"], found["data"]["images"]) == (0, "edgerun.firmware-exits/1", 3)
    dart, static = found["policies"]["dart"], found["policies"]["static"]
    assert (dart["selftest"], dart["same_exit"], dart["same_answer"], dart["different"]) == (0, 3, 3, [])
    assert dart["exit_shares"]["board"] == dart["exit_shares"]["engine"]
    assert 0 <= dart["worst_difference"] < 1e-3
    assert dart["saved_against_static"] == 1 - dart["count"]["mean"] / static["count"]["mean"]
    assert name == "host" or dart["saved_against_static"] > 0.5


def test_the_tool_names_what_differs(tmp_path):
    """A row of results whose board took another exit than the engine."""
    plan = plan_of(POLICIES["dart"])
    of_plan(plan).write(tmp_path)
    x = np.stack([image(seed) for seed in range(3)])
    results = boards.run(tmp_path, "host", x, timeout=120)
    runs = [PythonExecutor(plan).run([one]) for one in x]
    points = [e.name for e in plan.exits]
    row = firmware_exits.compared(results, runs, np.zeros(3, int), plan, points)
    assert (row["same_exit"], row["different"]) == (3, [])
    first = results.samples[0]
    other = (first.report["exit_taken"] + 1) % EXITS
    moved = replace(results, samples=[replace(first, report=first.report | {"exit_taken": other}), *results.samples[1:]])
    row = firmware_exits.compared(moved, runs, np.zeros(3, int), plan, points)
    assert row["same_exit"] == 2
    assert [(d["image"], d["board"], d["engine"]) for d in row["different"]] == [(0, other, runs[0].exit_index)]
    with pytest.raises(BoardError):
        firmware_exits.compared(replace(results, end="timeout"), runs, np.zeros(3, int), plan, points)


@pytest.mark.parametrize(("words", "said"), [(["--policies", "deadline"], "no clock"), (["--board", "pdp11"], "expected one of"),
                                             (["--data", "nowhere"], "found nothing there")])
def test_errors(words, said, capsys):
    if not DIGITS.is_dir():
        pytest.skip("sets/mnist is not in EDGERUN_DATA")
    assert firmware_exits.main([str(MNIST), "--data", str(DIGITS), "--limit", "2", "--policies", "dart", "--executor", "auto", *words]) == 2
    assert said in capsys.readouterr().err
