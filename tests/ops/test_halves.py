"""float16 and bfloat16 models: computed in float32, rounded once, without onnx.reference; the model's own casts stay."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgerun
from edgerun.importer import load
from edgerun.planner import make_plan

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
RNG = np.random.default_rng(2)
X, W, B = (RNG.standard_normal(s).astype(np.float32) for s in ((1, 3, 9, 9), (5, 3, 3, 3), (5,)))
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_executor = pytest.mark.parametrize("executor", ["auto", "python"])


def model(nodes, dtype, shape, constants, outputs=("y",)):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, shape)],
                              [helper.make_tensor_value_info(y, kind, [f"{y}{k}" for k in range(len(shape))]) for y in outputs],
                              [numpy_helper.from_array(c, n) for n, c in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10).SerializeToString()


CONV = [helper.make_node("Conv", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2])]


def conv(dtype):
    return model(CONV, dtype, X.shape, {"w": W.astype(dtype), "b": B.astype(dtype)})


@each_executor
@each_dtype
def test_a_network_of_halves_is_a_network_of_floats_rounded_once(dtype, executor):
    kind = DTYPES[dtype]
    wide = model(CONV, np.float32, X.shape, {"w": W.astype(kind).astype(np.float32), "b": B.astype(kind).astype(np.float32)})
    with edgerun.Session(conv(kind), executor=executor, strict=True) as halves, edgerun.Session(wide, executor=executor) as floats:
        got = halves.run(X.astype(kind)).outputs["y"]
        want = floats.run(X.astype(kind).astype(np.float32)).outputs["y"]
    assert got.dtype == kind
    np.testing.assert_array_equal(got, want.astype(kind))


@each_dtype
def test_nothing_is_rounded_in_between(dtype):
    steps = [s.kernel for s in make_plan(load(conv(DTYPES[dtype]))).steps]
    assert sum(k.startswith("cast") for k in steps) == 2
    assert "relu_f32" not in steps, "the activation belongs to the convolution, as in float32"
    kept = make_plan(load(conv(DTYPES[dtype])), without=("halves",))
    assert sum(s.kernel.startswith("cast") for s in kept.steps) == 6


@each_executor
@each_dtype
def test_the_casts_of_the_model_stay(dtype, executor):
    """x is 1 + a bit that a half does not hold: the model's author may want it gone."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[dtype]))
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Cast", ["e"], ["h"], to=kind),
             helper.make_node("Cast", ["h"], ["f"], to=TensorProto.FLOAT), helper.make_node("Neg", ["f"], ["y"])]
    x = np.linspace(0, 1, 9, dtype=np.float32)
    with edgerun.Session(model(nodes, np.float32, x.shape, {}), executor=executor) as session:
        got = session.run(x).outputs["y"]
    np.testing.assert_array_equal(got, got.astype(DTYPES[dtype]).astype(np.float32))
    assert (got != -np.exp(x)).any()


@each_executor
@each_dtype
def test_bits_move_as_they_are(dtype, executor):
    kind = DTYPES[dtype]
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]), helper.make_node("Concat", ["t", "t"], ["y"], axis=0)]
    x = np.array([[1, np.nan, -0.0], [np.inf, 3, 65504]], np.float32).astype(kind)
    with edgerun.Session(model(nodes, kind, x.shape, {}), executor=executor, strict=True, nonfinite="allow") as session:
        got = session.run(x).outputs["y"]
        assert not any(s.kernel.startswith("cast") for s in session.plan.steps)
    np.testing.assert_array_equal(got.view(np.uint16), np.concatenate([x.T, x.T]).view(np.uint16))


@each_executor
@each_dtype
def test_an_output_and_a_further_operator_read_the_same_value(dtype, executor):
    """What leaves the model is rounded, and is what it is declared to be."""
    kind = DTYPES[dtype]
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["b"])]
    x = np.linspace(-2, 1, 7).astype(kind)
    with edgerun.Session(model(nodes, kind, x.shape, {}, ("a", "b")), executor=executor, strict=True) as session:
        out = session.run(x).outputs
    assert out["a"].dtype == out["b"].dtype == kind
    np.testing.assert_allclose(out["a"].astype(np.float32), np.exp(x.astype(np.float32)), rtol=2.0**-8)
    np.testing.assert_allclose(out["b"].astype(np.float32), np.exp(np.exp(x.astype(np.float32))), rtol=2.0**-8)
