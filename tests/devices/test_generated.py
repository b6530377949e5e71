"""Models as generated C on emulated boards: answers of the engine's plan, and the manifest that the runner reads."""

from __future__ import annotations

import firmware_case as case
import numpy as np
import pytest

from edgerun import Session
from edgerun_tools import boards
from edgerun_tools.boards import emitted
from edgerun_tools.boards.inject import Fault
from edgerun_tools.codegen import generate

BOARDS = [case.board(n) for n in boards.BOARDS if n not in ("atmega328p", "microbit")]


@pytest.fixture
def session(model_of):
    """A convolution, a pool and a matmul, [1,3,12,12] → [1,5]."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(5)
    constants = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("w", (6, 3, 3, 3)), ("b", (6,)), ("m", (6, 5)))}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"], "relu"),
             helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"), helper.make_node("Flatten", ["g"], ["f"], "flat"),
             helper.make_node("MatMul", ["f", "m"], ["y"], "dense")]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1, 3, 12, 12])], [("y", TensorProto.FLOAT, [1, 5])], constants)
    with Session(model.SerializeToString(), checks="off", threads=1) as opened:
        yield opened


def test_manifest_of_a_plan(session, tmp_path):
    facts = emitted.describe("net", "cortex-m4", session.plan, arena_bytes=1234)
    for name in ("net.c", "net.h"):
        (tmp_path / name).write_text("")
    emitted.write(tmp_path, facts)
    firmware = boards.read_firmware(tmp_path)
    assert [(t.name, t.dtype, t.shape) for t in (*firmware.inputs, *firmware.outputs)] == [
        ("x", np.float32, (1, 3, 12, 12)), ("y", np.float32, (1, 5))]
    assert (firmware.symbol, firmware.selftest, firmware.report_type) == ("net_run", "net_selftest", "net_report")
    assert firmware.facts["macs"] == session.plan.macs == 6 * 27 * 144 + 30
    assert firmware.facts["arena_bytes"] == 1234


@pytest.fixture
def firmware(session, tmp_path):
    """A folder with generated C."""
    generate.of_session(session, "net", "net.onnx").write(tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.parametrize("name", BOARDS)
def test_answers_of_the_engine(name, firmware, session):
    x = np.random.default_rng(0).standard_normal((4, 1, 3, 12, 12)).astype(np.float32)
    generate.of_session(session, "net", "net.onnx", boards.BOARDS[name].target).write(firmware)
    results = boards.run(firmware, name, x, timeout=120)
    want = np.stack([session.run_raw([row]).outputs[0] for row in x])
    assert results.selftest == 0
    assert [s.status for s in results.samples] == [0] * 4
    np.testing.assert_allclose(results.outputs(), want, rtol=0, atol=1e-5 * abs(want).max())


@pytest.mark.parametrize("name", [case.board("mps2-an386")])
def test_a_flip_of_the_arena_changes_the_answer(name, firmware):
    x = np.random.default_rng(0).standard_normal((3, 1, 3, 12, 12)).astype(np.float32)
    clean = boards.run(firmware, name, x, timeout=120)
    at = int(clean.samples[1].count * 0.8)
    hit = boards.run(firmware, name, x, faults=[Fault(1, at, f"arena+{o}", 1 << 30) for o in range(0, 2048, 4)], timeout=120)
    changed = [not np.array_equal(a, b) for a, b in zip(clean.outputs(), hit.outputs(), strict=True)]
    assert changed == [False, True, False]
