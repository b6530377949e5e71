"""Models whose shapes depend on data: control flow, kernels for the shapes met, and bounds on memory, trips and time."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import edgerun
from edgerun.errors import DeadlineExceeded, EdgeRunError, EdgeRunWarning, LimitError, ShapeError, UnsupportedOpError

F, I64, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def info(name, kind=F, shape=()):
    return helper.make_tensor_value_info(name, kind, shape)


def scalar(name, value, kind=I64):
    return helper.make_tensor(name, kind, [], [value])


def model(nodes, inputs, outputs, constants=()):
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, list(constants)),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def agree(data: bytes, feeds: dict, executor: str = "auto", **options) -> edgerun.Result:
    """Run it here and by onnx.reference; the outputs must be the same."""
    with edgerun.Session(data, executor=executor, **options) as session:
        result = session.run(feeds)
    expected = ReferenceEvaluator(onnx.load_from_string(data)).run(None, feeds)
    for found, want in zip(result.outputs.values(), expected, strict=True):
        assert found.dtype == np.asarray(want).dtype
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    return result


NON_ZERO = [node("NonZero", ["x"], ["where"]), node("Transpose", ["where"], ["rows"], perm=[1, 0]),
            node("GatherND", ["x", "rows"], ["values"]), node("Exp", ["values"], ["y"])]

UNIQUE = [node("Unique", ["x"], ["y"])]


@pytest.mark.parametrize("executor", ["auto", "python"])
def test_a_shape_that_depends_on_data(executor: str) -> None:
    data = model(NON_ZERO, [info("x", F, [1, 6])], [info("y", F, ["n"])])
    agree(data, {"x": np.array([[0, 1, 0, 2, 3, 0]], np.float32)}, executor)
    agree(data, {"x": np.zeros((1, 6), np.float32)}, executor)


def test_a_large_node_runs_on_kernels_with_checks() -> None:
    """ReLU of rows chosen by data: the finding machinery of plans is there as well."""
    data = model([node("Compress", ["x", "keep"], ["some"], axis=0), node("MatMul", ["some", "w"], ["z"]), node("Relu", ["z"], ["y"])],
                 [info("x", F, [64, 64]), info("keep", B, [64])], [info("y", F, ["n", 64])],
                 [helper.make_tensor("w", F, [64, 64], np.random.default_rng(0).standard_normal(4096).astype(np.float32))])
    x = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    result = agree(data, {"x": x, "keep": np.arange(64) % 3 == 0})
    assert result.checks.run >= 22 * 64
    assert not result.checks.findings


def counting(trips, condition="", body_condition="on"):
    """acc, and the list of its values, after adding the iteration number `trips` times."""
    nodes = [node("Cast", ["i"], ["step"], to=F), node("Add", ["acc", "step"], ["acc_out"]), node("Identity", ["acc_out"], ["seen"]),
             node("Less", ["acc_out", "most"], ["small"]), node("Squeeze", ["small"], ["below"]), node("Identity", ["cond"], ["on"])]
    body = helper.make_graph(nodes, "body", [info("i", I64), info("cond", B), info("acc", F, [1])],
                             [info(body_condition, B), info("acc_out", F, [1]), info("seen", F, [1])])
    return model([node("Loop", ["trips", condition, "x"], ["y", "all"], body=body)], [info("x", F, [1])],
                 [info("y", F, [1]), info("all", F, ["n", 1])],
                 [scalar("trips", trips), helper.make_tensor("most", F, [1], [5.0]), scalar("true", 1, B)])


@pytest.mark.parametrize("trips", [0, 1, 7])
def test_loop_counts(trips: int) -> None:
    with edgerun.Session(counting(trips)) as session:
        y, seen = session.run(np.array([0.5], np.float32)).outputs.values()
    assert seen.shape == (trips, 1)
    np.testing.assert_array_equal(seen[:, 0], 0.5 + np.cumsum(np.arange(trips)).astype(np.float32))
    assert y[0] == (seen[-1, 0] if trips else 0.5)


def test_loop_ends_by_its_condition() -> None:
    with edgerun.Session(counting(1000, "true", "below")) as session:
        y, seen = session.run(np.array([0], np.float32)).outputs.values()
    assert seen[:, 0].tolist() == [0, 1, 3, 6]
    assert y[0] == 6


def test_nested_loops_see_outer_values() -> None:
    inner = helper.make_graph([node("Add", ["b", "a_in"], ["b_out"]), node("Identity", ["c2"], ["c2_out"])], "inner",
                              [info("j", I64), info("c2", B), info("b", F, [1])], [info("c2_out", B), info("b_out", F, [1])])
    outer = helper.make_graph([node("Loop", ["three", "", "a_in"], ["a_out"], body=inner), node("Identity", ["c1"], ["c1_out"])], "outer",
                              [info("i", I64), info("c1", B), info("a_in", F, [1])], [info("c1_out", B), info("a_out", F, [1])])
    data = model([node("NonZero", ["x"], ["n"]), node("Loop", ["two", "", "x"], ["y"], body=outer)], [info("x", F, [1])],
                 [info("y", F, [1]), info("n", I64, [1, "k"])], [scalar("two", 2), scalar("three", 3)])
    with edgerun.Session(data) as session:
        assert session.run(np.array([1], np.float32)).outputs["y"][0] == 16


@pytest.mark.parametrize("turned", [0, 1])
def test_scan(turned: int) -> None:
    body = helper.make_graph([node("Add", ["sum", "row"], ["sum_out"]), node("Identity", ["sum_out"], ["seen"])], "body",
                             [info("sum", F, [2]), info("row", F, [2])], [info("sum_out", F, [2]), info("seen", F, [2])])
    data = model([node("Scan", ["start", "x"], ["y", "all"], body=body, num_scan_inputs=1, scan_input_directions=[turned],
                       scan_output_axes=[1])],
                 [info("start", F, [2]), info("x", F, [4, 2])], [info("y", F, [2]), info("all", F, [2, 4])])
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    with edgerun.Session(data) as session:
        y, seen = session.run({"start": np.ones(2, np.float32), "x": x}).outputs.values()
    sums = 1 + np.cumsum(x[::-1] if turned else x, axis=0)
    np.testing.assert_array_equal(seen, sums.T)
    np.testing.assert_array_equal(y, sums[-1])


def test_strict_refuses_what_no_kernel_serves() -> None:
    with pytest.raises(UnsupportedOpError, match="Unique"):
        edgerun.Session(model(UNIQUE, [info("x", F, [1, 6])], [info("y", F, ["n"])]), strict=True)


def test_the_warning_names_the_slow_operators() -> None:
    with pytest.warns(EdgeRunWarning, match=r"Unique.* by the slow onnx\.reference"):
        edgerun.Session(model(UNIQUE, [info("x", F, [1, 6])], [info("y", F, ["n"])])).close()


def test_endless_loops_stop_at_the_limit_of_iterations() -> None:
    with edgerun.Session(counting(2**62), max_trips=50) as session, pytest.raises(LimitError, match=r"50 iterations.*max_trips"):
        session.run(np.zeros(1, np.float32))


def test_nested_loops_share_one_count() -> None:
    inner = helper.make_graph([node("Identity", ["c2"], ["c2_out"]), node("Identity", ["b"], ["b_out"])], "inner",
                              [info("j", I64), info("c2", B), info("b", F, [1])], [info("c2_out", B), info("b_out", F, [1])])
    outer = helper.make_graph([node("Loop", ["ten", "", "a_in"], ["unused"], body=inner), node("Add", ["unused", "a_in"], ["a_out"]),
                               node("Identity", ["c1"], ["c1_out"])], "outer",
                              [info("i", I64), info("c1", B), info("a_in", F, [1])], [info("c1_out", B), info("a_out", F, [1])])
    data = model([node("NonZero", ["x"], ["n"]), node("Loop", ["ten", "", "x"], ["y"], body=outer)], [info("x", F, [1])],
                 [info("y", F, [1]), info("n", I64, [1, "k"])], [scalar("ten", 10)])
    with edgerun.Session(data, max_trips=60) as session, pytest.raises(LimitError, match="60 iterations"):
        session.run(np.ones(1, np.float32))


def test_time_limits_reach_into_loops() -> None:
    with edgerun.Session(counting(2**62), max_trips=2**62, timeout=0.3) as session:
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="timeout="):
            session.run(np.zeros(1, np.float32))
    assert time.monotonic() - begin < 5


def doubling():
    body = helper.make_graph([node("Concat", ["a", "a"], ["a_out"], axis=0), node("Identity", ["c"], ["c_out"])], "body",
                             [info("i", I64), info("c", B), info("a", F, ["k"])], [info("c_out", B), info("a_out", F, ["k2"])])
    return model([node("Loop", ["trips", "", "x"], ["y"], body=body)], [info("x", F, [4])], [info("y", F, ["n"])], [scalar("trips", 60)])


def test_a_loop_that_doubles_a_tensor_stops_at_the_memory_limit() -> None:
    with edgerun.Session(doubling(), max_memory=32 << 20) as session, pytest.raises(LimitError, match="max_memory"):
        session.run(np.zeros(4, np.float32))


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_results_are_sized_before_they_are_made(op: str) -> None:
    """The sizes come at run time; a result of 2^38 bytes is refused before memory is asked for."""
    size = np.array([2**36], np.int64)
    inputs, constants = [info("n", I64, [1])], [scalar("zero", 0), scalar("one", 1), helper.make_tensor("x", F, [1], [1.0])]
    nodes = {"ConstantOfShape": [node("ConstantOfShape", ["n"], ["y"])], "Expand": [node("Expand", ["x", "n"], ["y"])],
             "Tile": [node("Tile", ["x", "n"], ["y"])],
             "Range": [node("Squeeze", ["n"], ["n0"]), node("Range", ["zero", "n0", "one"], ["y"])]}[op]
    data = model(nodes, inputs, [info("y", I64 if op == "Range" else F, ["k"])], constants)
    with edgerun.Session(data) as session, pytest.raises(LimitError, match=rf"{op}.*max_memory"):
        session.run(size)
    with edgerun.Session(data) as session:
        assert session.run(np.array([3], np.int64)).outputs["y"].shape == (3,)


def test_slices_of_different_shapes_cannot_be_stacked() -> None:
    nodes = [node("Concat", ["a", "a"], ["a_out"], axis=0), node("Identity", ["a_out"], ["seen"]), node("Identity", ["c"], ["c_out"])]
    body = helper.make_graph(nodes, "body", [info("i", I64), info("c", B), info("a", F, ["k"])],
                             [info("c_out", B), info("a_out", F, ["k2"]), info("seen", F, ["k3"])])
    data = model([node("Loop", ["trips", "", "x"], ["y", "all"], body=body)], [info("x", F, [4])],
                 [info("y", F, ["n"]), info("all", F, ["t", "m"])], [scalar("trips", 3)])
    with edgerun.Session(data) as session, pytest.raises(ShapeError, match="one shape"):
        session.run(np.zeros(4, np.float32))


def test_a_sequence_where_a_tensor_belongs_is_named() -> None:
    """A loop's body may be handed a sequence in its second iteration where it had a tensor in the first."""
    nodes = [node("HammingWindow", ["a"], ["w"]), node("SequenceConstruct", ["a"], ["a_out"]), node("Identity", ["c"], ["c_out"])]
    body = helper.make_graph(nodes, "body", [info("i", I64), info("c", B), info("a", I64, [])],
                             [info("c_out", B), info("a_out", I64, []), info("w", F, ["n"])])
    data = model([node("NonZero", ["x"], ["n0"]), node("Loop", ["trips", "", "x"], ["t", "all"], body=body)], [info("x", I64, [])],
                 [info("all", F, ["t", "m"])], [scalar("trips", 3)])
    with pytest.raises(EdgeRunError, match="sequence"), edgerun.Session(data) as session:
        session.run(np.array(4, np.int64))


@pytest.mark.parametrize("dead", ["If", "Loop"])
def test_results_without_a_name_are_dropped(dead: str) -> None:
    """Found by fuzzing: an If whose one output nobody named."""
    def branch(op, name):
        return helper.make_graph([node(op, ["x"], [name])], op, [], [info(name, F, [2, 6])])

    choice = {"then_branch": branch("Relu", "then"), "else_branch": branch("Ceil", "else")}
    body = helper.make_graph([node("Identity", ["on"], ["still"]), node("Add", ["was", "x"], ["now"])], "body",
                             [info("k", I64), info("on", B), info("was", F, [2, 6])],
                             [info("still", B), info("now", F, [2, 6]), info("now", F, [2, 6])])
    unnamed = node("If", ["c"], [""], **choice) if dead == "If" else node("Loop", ["trips", "", "x"], ["", "all"], body=body)
    nodes = [*NON_ZERO[:-1], unnamed, node("If", ["c"], ["z"], **choice), node("Exp", ["values"], ["y"])]
    outputs = [info("y", F, [None]), info("z", F, [2, 6]), *([info("all", F, [None, 2, 6])] if dead == "Loop" else [])]
    data = model(nodes, [info("x", F, [2, 6]), info("c", B)], outputs, [scalar("trips", 3)])
    x = np.arange(-6, 6, dtype=np.float32).reshape(2, 6)
    for c in (True, False):
        with edgerun.Session(data) as session:  # onnx.reference cannot leave out a result of Loop
            found = session.run({"x": x, "c": np.array(c)}).outputs
        np.testing.assert_allclose(found["y"], np.exp(x[x != 0]), rtol=1e-5)
        np.testing.assert_array_equal(found["z"], np.maximum(x, 0) if c else x)
        if dead == "Loop":
            np.testing.assert_array_equal(found["all"], [2 * x, 3 * x, 4 * x])
