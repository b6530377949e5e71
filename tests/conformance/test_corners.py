"""Corners that once gave wrong answers or untyped errors: small models against ONNX Runtime, on every executor."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import edgerun
from edgerun.executors import engine

N = helper.make_node
RNG = np.random.default_rng(5)


def data(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def unknown(name: str, rank: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [f"{name}{k}" for k in range(rank)])


def branch(node: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph([node], "branch", [], [unknown(node.output[0], 1)])


@dataclass
class Case:
    """nodes over `feeds` and `constants`; outputs: name → rank."""

    nodes: list[onnx.NodeProto]
    feeds: dict[str, np.ndarray]
    outputs: dict[str, int]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    opset: int = 13

    @property
    def model(self) -> bytes:
        graph = helper.make_graph(self.nodes, "corner", [info(n, a) for n, a in self.feeds.items()],
                                  [unknown(n, r) for n, r in self.outputs.items()],
                                  [numpy_helper.from_array(a, n) for n, a in self.constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8).SerializeToString()


def two_convolutions(front: onnx.NodeProto, **constants: np.ndarray) -> Case:
    """One of x, one of front(x): the second transpose of x must not take the first one's place."""
    pads = {"pads": [1] * 4}
    return Case([front, N("Conv", ["x", "w"], ["a"], **pads), N("Conv", ["r", "w"], ["b"], **pads)], {"x": data(1, 3, 6, 6)},
                {"a": 4, "b": 4}, {"w": data(4, 3, 3, 3), **constants})


def pools(first: str, shape: tuple[int, ...], kernel: int) -> Case:
    window = {"kernel_shape": [kernel] * 2, "strides": [kernel] * 2, "pads": [1] * 4, "ceil_mode": 1}
    nodes = [N(first, ["x"], ["y"], **window), N("MaxPool", ["y"], ["z"], **window), N("Relu", ["z"], ["r"])]
    return Case(nodes, {"x": data(*shape)}, {"y": 4, "r": 4}, opset=11)


def forwarding(taken: bool, value: str) -> Case:
    """Both branches hand on a value from outside."""
    choice = N("If", ["c"], ["y"], then_branch=branch(N("Identity", [value], ["t"])),
               else_branch=branch(N("Identity", [value], ["e"])))
    return Case([N("Relu", ["x"], ["r"]), choice, N("Add", ["y", "r"], ["z"])], {"c": np.array(taken), "x": data(3)}, {"z": 1})


def loop() -> Case:
    def scalar(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [])

    i64, boolean = onnx.TensorProto.INT64, onnx.TensorProto.BOOL
    body = helper.make_graph([N("Identity", ["go"], ["go_on"]), N("Add", ["sum", "x"], ["sum2"])], "body",
                             [scalar("i", i64), scalar("go", boolean), info("sum", data(3))],
                             [scalar("go_on", boolean), info("sum2", data(3))])
    return Case([N("Loop", ["n", "", "x"], ["y"], body=body)], {"x": data(3)}, {"y": 1}, {"n": np.array(3)})


def like_gelu() -> Case:
    """½ x (1 + tanh(√(2/π)(x + 0.044715 x²))): a square where GELU has a cube."""
    nodes = [N("Mul", ["x", "x"], ["p"]), N("Mul", ["p", "c"], ["q"]), N("Add", ["x", "q"], ["s"]), N("Mul", ["s", "d"], ["u"]),
             N("Tanh", ["u"], ["t"]), N("Add", ["t", "one"], ["v"]), N("Mul", ["x", "half"], ["h"]), N("Mul", ["h", "v"], ["y"])]
    constants = {"c": number(0.044715), "d": number(np.sqrt(2 / np.pi)), "one": number(1), "half": number(0.5)}
    return Case(nodes, {"x": np.array([-3, -1, 0, 2], np.float32)}, {"y": 1}, constants)


def like_hard_sigmoid() -> Case:
    nodes = [N("Add", ["x", "three"], ["a"]), N("Clip", ["a", "zero", "six"], ["b"]), N("Div", ["b", "divisor"], ["y"])]
    constants = {"three": number(3.0029), "zero": number(0), "six": number(6), "divisor": number(6.005)}
    return Case(nodes, {"x": np.linspace(-4, 4, 33, dtype=np.float32)}, {"y": 1}, constants)


CASES = {
    "resize_beside_conv": two_convolutions(N("Resize", ["x", "", "sc"], ["r"], mode="nearest"), sc=np.array([1, 1, 2, 2], np.float32)),
    "pad_beside_conv": two_convolutions(N("Pad", ["x", "by"], ["r"], mode="reflect"), by=np.array([0, 0, 1, 1, 0, 0, 1, 1])),
    "max_pool_ceil": pools("MaxPool", (1, 1, 4, 5), 2),
    "average_pool_ceil": pools("AveragePool", (1, 1, 4, 5), 2),
    "max_pool_ceil_3": pools("MaxPool", (1, 2, 7, 10), 3),
    "if_forwards_input": forwarding(True, "x"),
    "if_forwards_value": forwarding(False, "r"),
    "loop_without_condition": loop(),
    "softmax_of_constant_11": Case([N("Softmax", ["c"], ["s"], axis=1), N("Add", ["x", "s"], ["y"])], {"x": data(2, 3, 4)}, {"y": 3},
                                   {"c": data(2, 3, 4)}, opset=11),
    "hardmax_11": Case([N("Hardmax", ["x"], ["y"], axis=1)], {"x": data(2, 3, 4)}, {"y": 3}, opset=11),
    "square_is_no_gelu": like_gelu(),
    "nearly_hard_sigmoid": like_hard_sigmoid(),
    "concat_of_empties": Case([N("Concat", ["a", "b"], ["y"], axis=1)], {"a": data(0, 2), "b": data(0, 3)}, {"y": 2}),
    "matmul_without_columns": Case([N("MatMul", ["x", "w"], ["m"]), N("Mul", ["m", "two"], ["y"])], {"x": data(2, 3)}, {"y": 2},
                                   {"w": data(3, 0), "two": number(2)}),
}


@pytest.mark.parametrize("executor", ["auto", "python"])
@pytest.mark.parametrize("name", CASES)
def test_corner(name: str, executor: str) -> None:
    case = CASES[name]
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    wanted = onnxruntime.InferenceSession(case.model, quiet, providers=["CPUExecutionProvider"]).run(None, case.feeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", edgerun.errors.EdgeRunWarning)  # Loop is a fallback
        session = edgerun.Session(case.model, executor=executor)
    got = session.run(case.feeds).outputs
    for output, want in zip(case.outputs, wanted, strict=True):
        assert got[output].shape == want.shape
        np.testing.assert_allclose(got[output], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("executor", ["auto", "python"])
def test_batch_norm_of_one_axis(executor: str) -> None:
    """ONNX Runtime refuses it; the standard has it: the only axis is the batch, and there is one channel."""
    x = data(5)
    constants = {"s": np.array([2.0], np.float32), "b": np.array([1.0], np.float32), "m": np.array([0.5], np.float32),
                 "v": np.array([1.0], np.float32)}
    case = Case([N("BatchNormalization", ["x", *constants], ["y"])], {"x": x}, {"y": 1}, constants)
    got = edgerun.Session(case.model, executor=executor).run(x).outputs["y"]
    np.testing.assert_allclose(got, 2 * (x - 0.5) / np.sqrt(1 + 1e-5) + 1, rtol=1e-6, atol=1e-6)


THREADS = """
import resource, sys
import numpy as np, edgerun
session = edgerun.Session(sys.argv[1], executor="engine", threads=1)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    edgerun.Session(sys.argv[1], executor="engine", threads=900)
except edgerun.EdgeRunError as e:
    print(type(e).__name__, e)
"""


@pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")
def test_no_more_threads_is_an_error(tmp_path) -> None:
    import os
    import subprocess
    import sys

    path = tmp_path / "m.onnx"
    path.write_bytes(CASES["square_is_no_gelu"].model)
    done = subprocess.run([sys.executable, "-c", THREADS, str(path)], capture_output=True, text=True, timeout=120, check=False,
                          env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PlanError 900 threads")


@pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")
def test_a_damaged_name_is_still_a_plan_error() -> None:
    import struct
    import zlib

    from edgerun.planner.serialize import _HEADER, to_buffer

    case = CASES["max_pool_ceil"]
    plan = bytes(to_buffer(edgerun.Session(case.model, executor="python").plan))
    assert b"max_pool2d_f32" in plan
    damaged = bytearray(plan.replace(b"max_pool2d_f32", b"\xff\xfex_pool2d_f32"))
    struct.pack_into("<I", damaged, _HEADER.size - 4, 0)
    struct.pack_into("<I", damaged, _HEADER.size - 4, zlib.crc32(damaged))
    with pytest.raises(engine._engine.EnginePlanError, match="x_pool2d_f32"):
        engine._engine.Plan(bytes(damaged))


@pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
@pytest.mark.parametrize("op", ["ArgMax", "Softmax", "LayerNormalization"])
def test_a_scalar_where_an_axis_is_needed_is_a_typed_error_or_an_answer(op: str) -> None:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("ReduceMean", ["x"], ["r"], keepdims=0), helper.make_node(op, ["r", *(["s"] if op[0] == "L" else [])], ["y"])]
    kind = TensorProto.INT64 if op == "ArgMax" else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 6])]
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, [])], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    for executor in ("python", "engine") if engine.available() else ("python",):
        said = ""
        try:
            answer = edgerun.Session(model, executor=executor).run({"x": np.ones((2, 6), np.float32)})
        except edgerun.EdgeRunError as error:
            said = str(error)
        assert (op in said or executor in said) if said else np.isfinite(answer.outputs["y"]).all()
