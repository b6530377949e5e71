"""Campaigns on generated C: classes of trials, draws, resuming, and a short one on a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import firmware_case as case
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun.errors import OptionError
from edgerun_tools import firmware_campaign as fc
from edgerun_tools.boards.results import Sample

CLEAN = [np.array([[1, 9, 3]], np.int8), np.array([[7, 2, 2]], np.int8)]
HARMED, CRITICAL = np.array([[1, 8, 3]], np.int8), np.array([[9, 8, 3]], np.int8)


def subject() -> fc.Subject:
    return fc.Subject("full", Path(), Path(), None, np.zeros((2, 1, 3), np.int8), [a.tobytes() for a in CLEAN], [100, 100], [1, 0], 64,
                      [("step0_bias", 4), ("step0_weights", 12)], 0.1)


def sample(y: np.ndarray, status: int = 0, faults: int = 0) -> Sample:
    report: dict[str, Any] = {"faults": faults, "first_check": 3 if faults else 0}
    return Sample({"y": y}, status, 100.0, 64, report)


@pytest.mark.parametrize(("samples", "ended", "found"), [
    ([sample(CLEAN[0])], False, "masked"),
    ([sample(CLEAN[0], faults=1)], False, "corrected"),
    ([sample(CRITICAL, -1, 2)], False, "detected"),
    ([sample(HARMED)], False, "sdc_tolerable"),
    ([sample(CRITICAL)], False, "sdc_critical"),
    ([sample(CRITICAL, faults=1)], False, "sdc_critical"),
    ([], True, "due"),
    ([sample(CLEAN[0]), sample(CLEAN[1], -1, 1)], False, "detected"),
    ([sample(HARMED), sample(CLEAN[1], -1, 1)], False, "late"),
    ([sample(HARMED), sample(HARMED)], False, "sdc_critical"),
    ([sample(CLEAN[0])], True, "due"),
])
def test_classes(samples, ended, found):
    assert fc.judge(subject(), 0, samples, ended) == found


def test_draws_depend_on_number_and_seed_alone():
    s = subject()
    assert fc.trial(s, 5, 1) == fc.trial(s, 5, 1) != fc.trial(s, 5, 2)
    drawn = [fc.trial(s, k, 1) for k in range(400)]
    assert [t.site for t in drawn[:4]] == list(fc.SITES)
    places = {f"step0_bias+{k}" for k in range(4)} | {f"step0_weights+{k}" for k in range(12)}
    assert {t.place for t in drawn if t.site == "weights"} == places
    assert all(0 < t.at <= 100 for t in drawn if t.site != "weights")


def test_batches_keep_their_order_and_what_stays_apart():
    trials = [fc.trial(subject(), k, 1) for k in range(200)]
    found = list(fc.batches(trials))
    assert sorted(t.index for b in found for t in b) == list(range(200))
    assert all(len(b) == 1 for b in found if b[0].site == "weights")
    assert max(map(len, found)) == fc.BATCH


def test_results_of_another_campaign_are_refused(tmp_path):
    path = tmp_path / "full.jsonl"
    path.write_text(json.dumps({"seed": 1}) + "\n" + json.dumps({"index": 0}) + "\n" + '{"ind')
    assert fc._known(path, {"seed": 1}) == [{"index": 0}]
    assert not path.read_text().endswith('"ind')
    with pytest.raises(OptionError, match="of this campaign"):
        fc._known(path, {"seed": 2})


@pytest.mark.parametrize("board", [case.board("mps2-an386")])
def test_a_short_campaign(board, tmp_path):
    """Eight faults in a dense layer; going on with twelve leaves the first rows as they were."""
    rng = np.random.default_rng(3)
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": rng.integers(-127, 127, (32, 8), np.int8), "t": np.float32(1.0)}
    node = helper.make_node("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "t", "z"], ["y"])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 32])],
                              [helper.make_tensor_value_info("y", TensorProto.INT8, [1, 8])],
                              [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()])
    model = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    data = rng.integers(-128, 128, (3, 1, 32), dtype=np.int8)
    told: list[tuple[str, int, int]] = []
    first = fc.campaign(str(model), data, tmp_path / "out", ["full"], board, 8, 1, lambda *a: told.append(a))
    lines = (tmp_path / "out" / "full.jsonl").read_text().splitlines()
    assert len(lines) == 9
    assert told[-1] == ("full", 8, 8)
    assert first["presets"]["full"]["sites"]["weights"]["detected"] == 2
    second = fc.campaign(str(model), data, tmp_path / "out", ["full"], board, 12, 1, lambda *a: None)
    assert (tmp_path / "out" / "full.jsonl").read_text().splitlines()[:9] == lines
    assert second["presets"]["full"]["sites"]["all"]["trials"] == 12
    assert fc.table(second).row_count == 1 + len(fc.SITES)


def test_inputs_must_fit(tmp_path):
    np.savez(tmp_path / "x.npz", y=np.zeros(9, np.int64), x=np.arange(18, dtype=np.int8).reshape(9, 2))
    assert fc.inputs_of(str(tmp_path / "x.npz"), 4, (1, 2), np.dtype(np.int8)).shape == (4, 1, 2)
    with pytest.raises(fc.DataError, match="at least 10 inputs"):
        fc.inputs_of(str(tmp_path / "x.npz"), 10, (1, 2), np.dtype(np.int8))
