"""A session puts the parts together: answers, exits, checks, shapes, errors."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import edgerun
from edgerun.errors import (
    InputError,
    ModelFormatError,
    ModelNotFoundError,
    OptionError,
    PlanError,
    PolicyError,
    ShapeError,
    UnsupportedOpError,
)
from edgerun.plans import TUNE_AFTER

EXECUTORS = [pytest.param("engine", marks=pytest.mark.skipif(edgerun.build_info()["engine_error"] != "",
                                                             reason="the C++ engine is not built")), "python"]


@pytest.fixture(params=EXECUTORS)
def executor(request) -> str:
    return request.param


def reference(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnx

    return ReferenceEvaluator(onnx.ModelProto.FromString(model)).run(None, feeds)


def test_answers_are_the_references(exit_bytes, image, executor):
    with edgerun.Session(exit_bytes, executor=executor) as session:
        result = session.run(image)
    for name, expected in zip(("exit1", "final"), reference(exit_bytes, {"image": image}), strict=True):
        np.testing.assert_allclose(result.outputs[name], expected, rtol=1e-5, atol=1e-6)


def test_without_policy_runs_to_the_last_exit(exit_bytes, image, executor):
    result = edgerun.Session(exit_bytes, executor=executor).run(image)
    assert (result.exit.index, result.exit.of, result.exit.name) == (1, 2, "final")
    assert result.macs == result.macs_total > 0


@pytest.mark.parametrize(("threshold", "index"), [(0.0, 0), (1.0, 1)])
def test_policy_decides_where_to_stop(exit_bytes, image, executor, threshold, index):
    session = edgerun.Session(exit_bytes, executor=executor, exit_policy="confidence", thresholds=(threshold,))
    result = session.run(image)
    assert result.exit.index == index
    assert list(result.outputs) == ["exit1", "final"][: index + 1]
    assert (result.macs < result.macs_total) == (index == 0)


def test_top_is_the_softmax_of_the_exit_taken(exit_bytes, image, executor):
    result = edgerun.Session(exit_bytes, executor=executor, exit_policy="confidence", thresholds=(0.0,)).run(image)
    logits = result.outputs["exit1"][0].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert result.top[0][0] == ("ant", "bee", "cat")[int(np.argmax(logits))]
    np.testing.assert_allclose(sorted(p for _, p in result.top), sorted(expected), rtol=1e-6)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("tail", [["Softmax"], ["LogSoftmax"], ["Softmax", "Identity"], []], ids="+".join)
def test_softmax_is_applied_once(model_of, tail, opset):
    names = ["x", *(f"t{k}" for k in range(len(tail))), "y"]
    nodes = [helper.make_node(op, [names[k]], [names[k + 1]]) for k, op in enumerate(["Relu", *tail])]
    model = model_of(nodes, [("x", TensorProto.FLOAT, [1, 3])], [("y", TensorProto.FLOAT, [1, 3])], opset=opset)
    x = np.array([[0, 1, 5]], np.float32)
    top = edgerun.Session(model.SerializeToString(), labels=["a", "b", "c"], executor="python").run(x).top
    expected = np.exp(x[0].astype(np.float64)) / np.exp(x[0].astype(np.float64)).sum()
    assert [label for label, _ in top] == ["c", "b", "a"]
    np.testing.assert_allclose([p for _, p in top], expected[::-1], rtol=1e-5)


def test_batches_leave_one_by_one(exit_bytes, executor):
    batch = np.random.default_rng(5).standard_normal((6, 1, 4, 4)).astype(np.float32)
    session = edgerun.Session(exit_bytes, executor=executor, exit_policy="confidence", thresholds=(0.6,))
    result = session.run(batch)
    alone = [session.run(x[None]) for x in batch]
    assert [s.exit.index for s in result.samples] == [r.exit.index for r in alone]
    np.testing.assert_array_equal(result.scores, np.concatenate([r.scores for r in alone]))


def test_batches_without_policy_are_one_run(exit_bytes, executor):
    batch = np.random.default_rng(5).standard_normal((3, 1, 4, 4)).astype(np.float32)
    result = edgerun.Session(exit_bytes, executor=executor).run(batch)
    expected = reference(exit_bytes, {"image": batch})[1]
    np.testing.assert_allclose(result.outputs["final"], expected, rtol=1e-5, atol=1e-6)
    assert result.exit.index == 1
    assert result.scores.shape == (3, 3)


def test_results_belong_to_the_caller(exit_bytes, image, executor):
    session = edgerun.Session(exit_bytes, executor=executor)
    first = session.run(image)
    kept = first.outputs["final"].copy()
    session.run(image * -3)
    np.testing.assert_array_equal(first.outputs["final"], kept)


def test_checks_are_counted_and_clean(exit_bytes, image, executor):
    on = edgerun.Session(exit_bytes, executor=executor).run(image).checks
    off = edgerun.Session(exit_bytes, executor=executor, checks="off").run(image).checks
    assert on.mode == "maed"
    assert on.run >= 2 * 4 * 16
    assert on.ok
    assert off.mode == "off"
    assert off.run == 0
    assert off.ok


def test_a_fault_is_found_and_named(exit_bytes, image, executor):
    session = edgerun.Session(exit_bytes, executor=executor)
    step = next(k for k, s in enumerate(session.plan.steps) if s.checks and s.kernel.startswith("conv"))
    session.arm_fault(step, 3, 1 << 30)
    result = session.run(image)
    assert [f.step for f in result.checks.findings] == [step]
    assert not session.run(image).checks.findings


def test_symbolic_shapes_get_a_plan_each(add_bytes, executor):
    session = edgerun.Session(add_bytes, executor=executor, plan_cache=2)
    for n in (1, 4, 2, 4, 7):
        a, b = np.full((n, 3), 1, np.float32), np.full((n, 3), n, np.float32)
        np.testing.assert_array_equal(session.run({"a": a, "b": b}).outputs["sum"], a + b)
    assert len(session._plans) == 2


def test_shapes_of_two_inputs_must_agree(add_bytes):
    with pytest.raises(InputError, match="n=2"):
        edgerun.Session(add_bytes).run({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 3), np.float32)})


def test_fixed_shapes_choose_the_plan(add_bytes):
    session = edgerun.Session(add_bytes, shapes={"a": (5, 3)})
    assert [i.shape for i in session.fixed_inputs] == [(5, 3), (5, 3)]
    assert session.plan.slots[session.plan.outputs[0].slot].shape == (5, 3)


def test_unknown_shapes_ask_for_them(model_of):
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", TensorProto.FLOAT, [1, "w"])],
                     [("y", TensorProto.FLOAT, [1, "w"])]).SerializeToString()
    session = edgerun.Session(model)
    with pytest.raises(ShapeError, match="--shape"):
        _ = session.plan
    assert session.run(np.ones((1, 9), np.float32)).outputs["y"].shape == (1, 9)


def test_outputs_can_be_restricted(exit_bytes, image, executor):
    whole, part = (edgerun.Session(exit_bytes, executor=executor, outputs=names) for names in (None, ("final",)))
    assert list(part.run(image).outputs) == ["final"]
    np.testing.assert_array_equal(part.run(image).outputs["final"], whole.run(image).outputs["final"])
    assert part.plan.macs < whole.plan.macs


def test_unknown_outputs_are_named(exit_bytes):
    with pytest.raises(OptionError, match="nowhere"):
        edgerun.Session(exit_bytes, outputs=("nowhere",))


def test_profile_covers_every_step(exit_bytes, image, executor):
    session = edgerun.Session(exit_bytes, executor=executor)
    times = session.profile(image, repeats=3)
    assert [t.kernel for t in times] == [s.kernel for s in session.plan.steps]
    assert sum(t.us for t in times) > 0


def test_sessions_run_side_by_side(exit_bytes, executor):
    inputs = np.random.default_rng(9).standard_normal((8, 1, 1, 4, 4)).astype(np.float32)
    expected = [reference(exit_bytes, {"image": x})[1] for x in inputs]
    found: dict[int, np.ndarray] = {}
    shared = edgerun.Session(exit_bytes, executor=executor)

    def work(k: int) -> None:
        own = edgerun.Session(exit_bytes, executor=executor, threads=1)
        found[k] = (own if k % 2 else shared).run(inputs[k]).outputs["final"]

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    np.testing.assert_allclose(np.array([found[k] for k in range(8)]), np.array(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(edgerun.build_info()["engine_error"] != "", reason="the C++ engine is not built")
def test_tuning_does_not_change_answers(exit_bytes, image):
    session = edgerun.Session(exit_bytes, executor="engine", threads=2)
    outputs = [session.run(image).outputs["final"] for _ in range(TUNE_AFTER[-1] + 10)]
    ready = session._default()
    assert (ready.tuned, ready.untuned) == (len(TUNE_AFTER), 0)
    np.testing.assert_array_equal(np.stack(outputs), np.stack([outputs[0]] * len(outputs)))


def test_closed_sessions_refuse(exit_bytes, image):
    with edgerun.Session(exit_bytes) as session:
        session.run(image)
    session.close()
    with pytest.raises(PlanError, match="closed"):
        session.run(image)


def test_labels_can_be_given(exit_bytes, image):
    result = edgerun.Session(exit_bytes, labels=["x", "y", "z"]).run(image)
    assert {label for label, _ in result.top} == {"x", "y", "z"}


# -- bad input: one typed error each ----------------------------------------------------------------------------------

def test_missing_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"gone\.onnx"):
        edgerun.Session(tmp_path / "gone.onnx")


@pytest.mark.parametrize("blob", [b"", b"not an onnx file at all", b"\x00" * 64, b"\x08\x07"],
                         ids=["empty", "text", "zeros", "header only"])
def test_not_an_onnx_file(tmp_path, blob):
    (tmp_path / "bad.onnx").write_bytes(blob)
    with pytest.raises(ModelFormatError, match=r"bad\.onnx"):
        edgerun.Session(tmp_path / "bad.onnx")


def test_unknown_operator(model_of):
    node = helper.make_node("FrobnicateQuickly", ["x"], ["y"], "odd")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnsupportedOpError, match="FrobnicateQuickly"):
        edgerun.Session(model.SerializeToString())


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((1, 1, 4, 5), np.float32), r"expected shape \[batch, 1, 4, 4\]; found \[1, 1, 4, 5\]"),
    (np.zeros((1, 1, 4, 4), np.float64), "expected dtype float32; found float64"),
    (np.full((1, 1, 4, 4), np.nan, np.float32), "expected finite numbers; found nan"),
], ids=["shape", "dtype", "nan"])
def test_wrong_feeds(exit_bytes, x, message):
    with pytest.raises(InputError, match=message):
        edgerun.Session(exit_bytes).run(x)


def test_dart_needs_calibration(exit_bytes):
    with pytest.raises(PolicyError, match="edgerun calibrate"):
        edgerun.Session(exit_bytes, exit_policy="dart")


def test_policies_need_exits(add_bytes):
    with pytest.raises(PolicyError, match=r"edgerun\.exits"):
        edgerun.Session(add_bytes, exit_policy="confidence")


@pytest.mark.parametrize("labels", [["a", "b"], [], list("abcd"), "abc", [1, 2, 3]], ids=str)
@pytest.mark.parametrize("classes", [3, None], ids=["declared", "found by running"])
def test_labels_must_be_as_many_as_classes(model_of, labels, classes):
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", TensorProto.FLOAT, [1, classes or "n"])],
                     [("y", TensorProto.FLOAT, [1, classes or "n"])]).SerializeToString()
    with pytest.raises(OptionError, match=r"labels: expected .* found"):
        edgerun.Session(model, labels=labels).run(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("labels", [["a", "b"], []], ids=str)
def test_labels_must_fit_the_exits(exit_bytes, labels):
    with pytest.raises(OptionError, match=r"labels: .*exit1 float32\[batch, 3\].*found"):
        edgerun.Session(exit_bytes, labels=labels)


def test_labels_in_the_model_must_fit_the_exits(exit_bytes):
    model = onnx.ModelProto.FromString(exit_bytes)
    next(p for p in model.metadata_props if p.key == "edgerun.labels").value = '["a", "b"]'
    with pytest.raises(ModelFormatError, match=r"labels: .*found 2"):
        edgerun.Session(model.SerializeToString())


def test_an_empty_batch_through_exits_is_an_input_error(exit_bytes):
    with pytest.raises(InputError, match=r"at least one sample; found image \[0, 1, 4, 4\]"):
        edgerun.Session(exit_bytes).run(np.zeros((0, 1, 4, 4), np.float32))


@pytest.mark.parametrize("options", [
    {"threads": "2"}, {"threads": True}, {"threads": 1.5}, {"plan_cache": "8"}, {"thresholds": 0.5},
    {"thresholds": ("0.5",)}, {"thresholds": "0.5"}, {"budget_ms": "5"}, {"patience": 1.5}, {"outputs": "final"},
    {"shapes": {"image": 5}}, {"shapes": {"image": (1, 1, 4, 4.0)}}, {"shapes": 5}, {"dimensions": {"batch": -4}},
    {"dimensions": {"batch": "4"}}, {"dimensions": {"bach": 4}}, {"dimensions": [4]},
], ids=str)
def test_options_of_a_wrong_type_are_typed_errors(exit_bytes, options):
    with pytest.raises(OptionError, match=f"{next(iter(options))}.*expected .*found"):
        edgerun.Session(exit_bytes, **options)


def test_numpy_numbers_serve_as_options(exit_bytes):
    session = edgerun.Session(exit_bytes, shapes={"image": np.array([2, 1, 4, 4])}, threads=np.int64(1),
                              exit_policy="confidence", thresholds=np.array([0.25], np.float32))
    assert session.fixed_inputs[0].shape == (2, 1, 4, 4)
    assert session.options.threads == 1
    assert session.policy.thresholds == (0.25,)


def test_dimensions_are_set_by_name(exit_bytes):
    assert edgerun.Session(exit_bytes, dimensions={"batch": 2}).fixed_inputs[0].shape == (2, 1, 4, 4)


@pytest.mark.parametrize("options", [{"checks": "all"}, {"executor": "gpu"}, {"threads": 0}, {"plan_cache": 0},
                                     {"colour": "red"}, {"shapes": {"q": (1,)}}], ids=str)
def test_bad_options(exit_bytes, options):
    with pytest.raises(OptionError, match="expected"):
        edgerun.Session(exit_bytes, **options)


@pytest.mark.parametrize("options", [{"exit_policy": "lucky"}, {"exit_policy": "deadline"}, {"adaptive": True},
                                     {"exit_policy": "confidence", "thresholds": (0.1, 0.2)},
                                     {"thresholds": (0.5,)}, {"exit_policy": "patience", "patience": 0}], ids=str)
def test_bad_policy_options(exit_bytes, options):
    with pytest.raises(PolicyError, match=r"expected|belongs"):
        edgerun.Session(exit_bytes, **options)
