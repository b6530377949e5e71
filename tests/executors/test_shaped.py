"""What has a size that only data tell: NonMaxSuppression, ranges, windows, sequences, Scan of opset 8, within their bounds."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import edgerun
from edgerun.errors import LimitError, ShapeError
from edgerun.executors.sequences import SEQUENCES
from edgerun.executors.shaped import SHAPED
from edgerun.executors.suppress import non_max_suppression
from edgerun.planner.select import RESOLVED

pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
f32, i64 = np.float32, np.int64


def model(op, inputs, kind=TensorProto.FLOAT, opset=20, **attrs):
    infos = [helper.make_tensor_value_info(f"x{k}", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for k, x in enumerate(inputs)]
    nodes = [helper.make_node(op, [i.name for i in infos], ["y"], **attrs)]
    rank = {"NonMaxSuppression": 2, "MelWeightMatrix": 2, "ConstantOfShape": inputs[0].size}.get(op, 1)
    rank = inputs[0].ndim if op == "Compress" and "axis" in attrs else rank
    graph = helper.make_graph(nodes, "g", infos, [helper.make_tensor_value_info("y", kind, [f"d{k}" for k in range(rank)])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(op, inputs, kind=TensorProto.FLOAT, opset=20, options=None, **attrs):
    data = model(op, inputs, kind, opset, **attrs).SerializeToString()
    with edgerun.Session(data, strict=True, **(options or {})) as session:
        return session.run({f"x{k}": x for k, x in enumerate(inputs)}).outputs["y"]


def expected(op, inputs, kind=TensorProto.FLOAT, opset=20, **attrs):
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model(op, inputs, kind, opset, **attrs)).run(None, {f"x{k}": x for k, x in enumerate(inputs)})[0]


@pytest.mark.parametrize("centre", [0, 1])
@pytest.mark.parametrize("least", [None, 0.4])
@pytest.mark.parametrize(("most", "overlap"), [(100, 0.3), (3, 0.5), (0, 0.5), (100, 0.0), (100, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_non_max_suppression(seed, most, overlap, least, centre):
    rng = np.random.default_rng(seed)
    boxes = rng.random((2, 40, 4), f32)
    scores = np.round(rng.random((2, 3, 40), f32), 1)  # many equal ones
    operands = [boxes, scores, i64([most]), f32([overlap]), *([f32([least])] if least is not None else [])]
    attrs = {"opset": 11, "kind": TensorProto.INT64, "center_point_box": centre}
    want = expected("NonMaxSuppression", operands, **attrs).reshape(-1, 3)
    np.testing.assert_array_equal(run("NonMaxSuppression", operands, **attrs), want)


def test_many_boxes_take_little_time():
    """onnx.reference compares every pair in Python: a minute and more for these."""
    rng = np.random.default_rng(0)
    corner = rng.random((1, 5000, 2), f32)
    boxes = np.concatenate([corner, corner + 0.02], axis=2)
    begin = time.perf_counter()
    kept = non_max_suppression(boxes, rng.random((1, 1, 5000), f32), 300, 0.5, None, False, lambda: None)
    assert time.perf_counter() - begin < 5
    assert len(kept) == 300


def test_boxes_that_are_no_numbers_suppress_nothing():
    boxes = np.tile(f32([0, 0, 1, 1]), (1, 3, 1))
    boxes[0, 0] = np.nan
    kept = non_max_suppression(boxes, f32([[[3, 2, 1]]]), 9, 0.5, None, False, lambda: None)
    np.testing.assert_array_equal(kept[:, 2], [0, 1])


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 6, 4), (1, 6, 3)])
def test_boxes_that_do_not_fit_the_scores_are_a_shape_error(shape):
    with pytest.raises(ShapeError, match="NonMaxSuppression"):
        run("NonMaxSuppression", [np.zeros(shape, f32), np.zeros((1, 2, 6), f32), i64([1])], TensorProto.INT64, 11)


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [0, 2, 17])
@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(op, size, periodic):
    operands = [np.asarray(i64(size))]
    np.testing.assert_allclose(run(op, operands, periodic=periodic), expected(op, operands, periodic=periodic), rtol=1e-5, atol=1e-6)


def test_a_window_of_one_is_its_peak():
    assert run("HannWindow", [np.asarray(i64(1))], periodic=0).tolist() == [1]


@pytest.mark.parametrize(("bins", "points", "rate", "low", "high"), [(8, 64, 8192, 0, 4096), (20, 512, 16000, 20.0, 7600.0),
                                                                     (1, 16, 8192, 0, 4000)])
def test_mel_weights(bins, points, rate, low, high):
    operands = [np.asarray(i64(v)) for v in (bins, points, rate)] + [np.asarray(f32(v)) for v in (low, high)]
    np.testing.assert_allclose(run("MelWeightMatrix", operands), expected("MelWeightMatrix", operands), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("op", "operands", "kind"), [
    ("Range", [np.asarray(f32(0)), np.asarray(f32(1)), np.asarray(f32(1e-12))], TensorProto.FLOAT),
    ("Range", [np.asarray(i64(0)), np.asarray(i64(2**62)), np.asarray(i64(1))], TensorProto.INT64),
    ("HannWindow", [np.asarray(i64(2**40))], TensorProto.FLOAT),
    ("ConstantOfShape", [i64([2**20, 2**20])], TensorProto.FLOAT),
])
def test_a_result_too_large_is_refused_before_it_is_made(op, operands, kind):
    with pytest.raises(LimitError, match="max_memory"):
        run(op, operands, kind)


@pytest.mark.parametrize(("op", "operands", "kind"), [
    ("Range", [np.asarray(f32(0)), np.asarray(f32(1)), np.asarray(f32(0))], TensorProto.FLOAT),
    ("HannWindow", [np.asarray(i64(-1))], TensorProto.FLOAT),
    ("ConstantOfShape", [i64([2, -1])], TensorProto.FLOAT),
    ("Compress", [np.zeros(3, f32), np.ones(4, bool)], TensorProto.FLOAT),
])
def test_operands_that_make_no_sense_are_a_shape_error(op, operands, kind):
    with pytest.raises(ShapeError, match=op):
        run(op, operands, kind)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_compress_by_a_constant_has_a_known_shape(axis):
    x, condition = np.arange(12, dtype=f32).reshape(3, 4), np.array([True, False, True])
    data = model("Compress", [x, condition], **({} if axis is None else {"axis": axis}))
    data.graph.input.pop()
    data.graph.initializer.append(numpy_helper.from_array(condition, "x1"))
    with edgerun.Session(data.SerializeToString(), strict=True) as session:
        assert [s.kernel for s in session.plan.steps] == ["gather_x32"]
        np.testing.assert_array_equal(session.run(x).outputs["y"], np.compress(condition, x, axis))


def test_the_planner_knows_what_is_done_here():
    assert set(SHAPED) | set(SEQUENCES) <= RESOLVED


def ports_of(inputs):
    return [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in inputs.items()]


def sequences(nodes, inputs, rank=2):
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{k}" for k in range(rank)])
    graph = helper.make_graph(nodes, "g", ports_of(inputs), [result])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    with edgerun.Session(data, strict=True) as session:
        got = session.run(inputs).outputs["y"]
    np.testing.assert_array_equal(got, ReferenceEvaluator(onnx.load_from_string(data)).run(None, inputs)[0])


N = helper.make_node
PARTS = {"a": f32([[1, 2]]), "b": f32([[3, 4]]), "k": np.asarray(i64(-2))}


@pytest.mark.parametrize("new_axis", [0, 1])
def test_sequences(new_axis):
    sequences([N("SequenceConstruct", ["a", "b"], ["s"]), N("SequenceInsert", ["s", "b", "k"], ["r"]),
               N("SequenceErase", ["r", "k"], ["t"]), N("ConcatFromSequence", ["t"], ["y"], axis=1, new_axis=new_axis)], PARTS,
              2 + new_axis)


def test_a_place_outside_of_a_sequence_is_a_shape_error():
    with pytest.raises(ShapeError, match="SequenceAt"):
        sequences([N("SequenceConstruct", ["a"], ["s"]), N("SequenceAt", ["s", "k"], ["y"])], {k: PARTS[k] for k in ("a", "k")})


def test_scan_of_opset_8_with_sequences_of_different_lengths():
    body = helper.make_graph([N("Add", ["sum", "next"], ["sum_out"]), N("Identity", ["sum_out"], ["seen"])], "body",
                             [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("sum", "next")],
                             [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("sum_out", "seen")])
    ports = {"lengths": i64([3, 1]), "start": np.zeros((2, 2), f32), "x": np.arange(12, dtype=f32).reshape(2, 3, 2)}
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in (("last", [2, 2]), ("all", [2, 3, 2]))]
    scan = N("Scan", list(ports), ["last", "all"], num_scan_inputs=1, body=body, directions=[1])
    graph = helper.make_graph([scan], "g", ports_of(ports), results)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3).SerializeToString()
    with edgerun.Session(data, strict=True) as session:
        out = session.run(ports).outputs
    x = ports["x"]
    np.testing.assert_array_equal(out["last"], [x[0].sum(axis=0), x[1, 0]])
    np.testing.assert_array_equal(out["all"][0], np.cumsum(x[0, ::-1], axis=0))
    np.testing.assert_array_equal(out["all"][1], [x[1, 0], [0, 0], [0, 0]])
