"""Products whose operands do not fit, which onnx's shape inference lets pass."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgerun
from edgerun.errors import EdgeRunError, ShapeError


@pytest.mark.parametrize("executor", ["engine", "python"])
@pytest.mark.parametrize(("b", "c", "attrs", "named"), [
    ((5, 3), None, {}, "(4 and 5|5 and 4)"),
    ((3, 5), None, {"transB": 1}, "(4 and 5|5 and 4)"),
    ((4, 3), (2,), {}, r"\[2, 3\], found \[2\]"),
    ((4, 3), (3, 3), {}, r"found \[3, 3\]"),
    ((4, 3), (1, 2, 3), {}, r"found \[1, 2, 3\]"),
])
def test_gemm_names_what_does_not_fit(b, c, attrs, named, executor) -> None:
    operands = {"b": b, **({"c": c} if c else {})}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["a", *operands], ["y"], name="last", **attrs)], "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", "n"])],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in operands.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    with pytest.raises(ShapeError, match=rf"Gemm, node 'last'.*{named}"), edgerun.Session(model, executor=executor) as session:
        session.run(np.ones((2, 4), np.float32))


def test_gemm_of_a_weight_with_itself() -> None:
    """Found by the fuzzer: inference did not run for operands that are both initializers."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["w", "w", "b"], ["y"], name="last")], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 6])],
        [numpy_helper.from_array(np.ones((4, 6), np.float32), "w"), numpy_helper.from_array(np.ones(4, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    with pytest.raises(EdgeRunError, match="Gemm, node 'last'"):
        edgerun.Session(model)
