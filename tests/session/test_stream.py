"""Models that carry state: the stream hands it on, and gives what a loop by hand gives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import edgerun
from edgerun.errors import InputError, OptionError, PolicyError

F = TensorProto.FLOAT
ROOT = Path(__file__).resolve().parents[2]
DTLN = Path(os.environ.get("EDGERUN_DATA", ROOT.parent / "shared" / "data")) / "models" / "dtln_1.onnx"


def info(name, shape):
    return helper.make_tensor_value_info(name, F, shape)


def smoother(extra: bool = False) -> bytes:
    """y = x + h, h' = 0.5 h + x; with `extra` a second state c of the same shape: c' = c + 1."""
    half, one = (helper.make_tensor(n, F, [], [v]) for n, v in (("half", 0.5), ("one", 1.0)))
    node = helper.make_node
    nodes = [node("Add", ["x", "h"], ["y"]), node("Mul", ["h", "half"], ["hh"]), node("Add", ["hh", "x"], ["h_new"])]
    inputs, outputs = [info("x", [1, 4]), info("h", [1, 4])], [info("y", [1, 4]), info("h_new", [1, 4])]
    if extra:
        nodes.append(node("Add", ["c", "one"], ["c_new"]))
        inputs.append(info("c", [1, 4]))
        outputs.append(info("c_new", [1, 4]))
    graph = helper.make_graph(nodes, "g", inputs, outputs, [half, *([one] if extra else [])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


FRAMES = np.random.default_rng(0).standard_normal((6, 1, 4)).astype(np.float32)


@pytest.mark.parametrize("executor", ["auto", "python"])
def test_the_state_goes_along(executor: str) -> None:
    with edgerun.Session(smoother(), executor=executor) as session:
        stream = session.stream()
        assert stream.pairs == {"h": "h_new"}
        found = [stream.run(x).outputs["y"] for x in FRAMES]
        h = np.zeros((1, 4), np.float32)
        for x, y in zip(FRAMES, found, strict=True):
            one = session.run({"x": x, "h": h}).outputs
            np.testing.assert_array_equal(y, one["y"])
            h = one["h_new"]
        np.testing.assert_array_equal(stream.state["h"], h)
        assert stream.frames == len(FRAMES)


def test_reset_and_resume() -> None:
    with edgerun.Session(smoother()) as session:
        stream = session.stream()
        first = [stream.run(x).outputs["y"] for x in FRAMES[:3]]
        kept = stream.state
        rest = [stream.run(x).outputs["y"] for x in FRAMES[3:]]
        stream.state = kept
        np.testing.assert_array_equal([stream.run(x).outputs["y"] for x in FRAMES[3:]], rest)
        stream.reset()
        np.testing.assert_array_equal([stream.run(x).outputs["y"] for x in FRAMES[:3]], first)


def test_states_of_one_shape_are_paired_in_order() -> None:
    with edgerun.Session(smoother(extra=True)) as session:
        stream = session.stream(initial={"c": np.full((1, 4), 7, np.float32)})
        assert stream.pairs == {"h": "h_new", "c": "c_new"}
        stream.run(FRAMES[0])
        assert (stream.run(FRAMES[1]).outputs["c_new"] == 9).all()


def test_the_state_is_not_copied() -> None:
    seen = []
    with edgerun.Session(smoother()) as session:
        stream = session.stream()
        run = session.run
        stream._run = lambda feeds: seen.append(feeds["h"]) or run(feeds)
        first = stream.run(FRAMES[0])
        stream.run(FRAMES[1])
    assert seen[1] is first.outputs["h_new"]


def test_what_cannot_be_told() -> None:
    with edgerun.Session(smoother()) as session:
        with pytest.raises(OptionError, match=r"\{input: output\} of inputs x, h"):
            session.stream(state={"h": "nothing"})
        with pytest.raises(OptionError, match="expected state inputs"):
            session.stream(initial={"x": FRAMES[0]})
        stream = session.stream()
        with pytest.raises(InputError, match="which is state"):
            stream.run({"x": FRAMES[0], "h": FRAMES[0]})
        with pytest.raises(InputError, match="expected the state h"):
            stream.state = {}


def test_a_model_without_state(add_bytes: bytes) -> None:
    with edgerun.Session(add_bytes) as session, pytest.raises(OptionError, match=r"stream\(state="):
        session.stream()


def test_no_early_exit(exit_bytes: bytes) -> None:
    with edgerun.Session(exit_bytes, exit_policy="confidence", thresholds=(0.5,)) as session, \
            pytest.raises(PolicyError, match="leaves the state behind"):
        session.stream()


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
def test_speech_enhancement_as_in_onnxruntime() -> None:
    """DTLN's first network (two LSTMs with their state as an operand) over 40 frames."""
    ort = pytest.importorskip("onnxruntime")
    if not DTLN.is_file():
        pytest.skip("dtln_1.onnx is not there: set EDGERUN_DATA")
    frames = np.abs(np.random.default_rng(1).standard_normal((40, 1, 1, 257))).astype(np.float32)
    other = ort.InferenceSession(str(DTLN), providers=["CPUExecutionProvider"])
    state = np.zeros((1, 2, 128, 2), np.float32)
    with edgerun.Session(str(DTLN)) as session:
        stream = session.stream()
        assert stream.pairs == {"input_3": "tf_op_layer_stack_2"}
        for frame in frames:
            expected, state = other.run(None, {"input_2": frame, "input_3": state})
            np.testing.assert_allclose(stream.run(frame).outputs["activation_2"], expected, atol=1e-4)
