"""Operands that onnx's shape inference lets pass although they do not fit: both executors name the operator and both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgerun
from edgerun.errors import EdgeRunError, InputError


def model(op: str, feeds: dict[str, tuple[int, ...]], constants: dict[str, np.ndarray], out_rank: int, **attrs: Any) -> bytes:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in feeds.items()]
    graph = helper.make_graph([helper.make_node(op, [*feeds, *constants], ["y"], name="last", **attrs)], "g", inputs,
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{k}" for k in range(out_rank)])],
                              [numpy_helper.from_array(a, name) for name, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def weights(*shape: int) -> dict[str, np.ndarray]:
    return {"w": np.ones(shape, np.float32)}


CASES = {
    "conv of other channels": model("Conv", {"x": (1, 3, 5, 5)}, weights(2, 4, 3, 3), 4),
    "conv of other kernel_shape": model("Conv", {"x": (1, 1, 5, 5)}, weights(1, 1, 4, 3), 4, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "depthwise of other channels": model("Conv", {"x": (1, 4, 5, 5)}, weights(5, 1, 3, 3), 4, group=5),
    "conv with another bias": model("Conv", {"x": (1, 1, 5, 5)}, weights(2, 1, 3, 3) | {"b": np.ones(1, np.float32)}, 4),
    "conv with its weights for a bias": model("Conv", {"x": (1, 1, 5, 5)},
                                              weights(2, 1, 3, 3) | {"b": np.ones((2, 1, 3, 3), np.float32)}, 4),
    "conv_transpose with another bias": model("ConvTranspose", {"x": (1, 1, 3, 3)}, weights(1, 2, 3, 3) | {"b": np.ones(3, np.float32)}, 4),
    "conv_transpose of other channels": model("ConvTranspose", {"x": (1, 1, 3, 3)}, weights(2, 2, 3, 3), 4),
    "reshape to more": model("Reshape", {"x": (2, 5)}, {"to": np.array([3, 4], np.int64)}, 2),
    "clip by a vector": model("Clip", {"x": (3,)}, {"low": np.zeros(2, np.float32)}, 1),
    "prelu of a longer slope": model("PRelu", {"x": (3, 4)}, {"s": np.ones((2, 4), np.float32)}, 2),
    "scatter of too few values": model("ScatterElements", {"x": (3, 3)},
                                       {"i": np.zeros((3, 3), np.int64), "u": np.ones((2, 3), np.float32)}, 2),
    "gather_elements beyond": model("GatherElements", {"x": (2, 2)}, {"i": np.full((2, 2), 2, np.int64)}, 2, axis=0),
    "transpose of another rank": model("Transpose", {"x": (2, 3, 4)}, {}, 2, perm=[1, 0]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("executor", ["engine", "python"])
@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused_by_name(case: str, executor: str) -> None:
    data = CASES[case]
    shape = [d.dim_value for d in onnx.load_from_string(data).graph.input[0].type.tensor_type.shape.dim]
    with pytest.raises(EdgeRunError) as refusal, edgerun.Session(data, executor=executor) as session:
        session.run(np.ones(shape, np.float32))
    said = str(refusal.value)
    assert not isinstance(refusal.value, InputError) or "index" in said or "indices" in said  # what was fed is not to blame
    assert "last" in said or "'y'" in said or "'x'" in said, said
    assert "a defect" not in said
