"""`edgerun inspect` of a quantised model: which layers run in int8, and why the others do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgerun_tools import cli


@pytest.fixture
def half_quantised(tmp_path, model_of) -> str:
    """x int8 → MatMul with quantised weights → MatMul with float weights → y int8."""
    constants = {"s": np.float32(0.1), "z": np.int8(3), "w": np.eye(4, dtype=np.int8), "f": np.eye(4, dtype=np.float32)}
    node = helper.make_node
    nodes = [node("DequantizeLinear", ["x", "s", "z"], ["a"]), node("DequantizeLinear", ["w", "s"], ["b"]),
             node("MatMul", ["a", "b"], ["c"], "first"), node("QuantizeLinear", ["c", "s", "z"], ["d"]),
             node("DequantizeLinear", ["d", "s", "z"], ["e"]), node("MatMul", ["e", "f"], ["g"], "second"),
             node("QuantizeLinear", ["g", "s", "z"], ["y"])]
    port = (TensorProto.INT8, [1, 4])
    path = tmp_path / "half.onnx"
    path.write_bytes(model_of(nodes, [("x", *port)], [("y", *port)], constants, opset=17).SerializeToString())
    return str(path)


def test_the_text_says_how_many_and_why(capsys, half_quantised: str) -> None:
    assert cli.main(["inspect", half_quantised]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 of 2 layers in int8, the others in float" in lines
    (row,) = [line for line in lines if "its weights are not quantised" in line]
    assert "MatMul" in row and "second" in row


def test_json_has_it_too(capsys, half_quantised: str) -> None:
    cli.main(["inspect", half_quantised, "--json"])
    plan = json.loads(capsys.readouterr().out)["plan"]
    (left,) = plan["int8"].pop("float")
    assert plan["int8"] == {"layers": 2, "int8": 1}
    assert left["node"] == "second" and left["reason"] == "its weights are not quantised"
    assert plan["steps"][left["step"]]["kernel"] == "matmul_f32"


def test_a_float_model_says_nothing_of_it(capsys, tmp_path, add_bytes: bytes) -> None:
    path = tmp_path / "add.onnx"
    path.write_bytes(add_bytes)
    cli.main(["inspect", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["plan"]["int8"] is None
