"""Code written for ONNX Runtime changes one import."""

from __future__ import annotations

import numpy as np
import pytest

import edgerun

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is what we are compatible with")


@pytest.fixture(params=["exit_bytes", "add_bytes"])
def model(request) -> bytes:
    return request.getfixturevalue(request.param)


@pytest.fixture
def pair(model):
    def options(module):
        o = module.SessionOptions()
        o.intra_op_num_threads = 1
        o.graph_optimization_level = module.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
        o.log_severity_level = 3
        return o

    return tuple(m.InferenceSession(model, options(m), providers=["CPUExecutionProvider"]) for m in (edgerun, ort))


def feed_for(session) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {i.name: rng.standard_normal([d if isinstance(d, int) else 2 for d in i.shape]).astype(np.float32)
            for i in session.get_inputs()}


def test_descriptions_are_the_same(pair):
    ours, theirs = ([(a.name, a.shape, a.type) for a in s.get_inputs() + s.get_outputs()] for s in pair)
    assert ours == theirs


def test_outputs_are_the_same(pair):
    feed = feed_for(pair[1])
    ours, theirs = (s.run(None, feed) for s in pair)
    assert isinstance(ours, list)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(theirs), rtol=1e-5, atol=1e-6)


def test_outputs_can_be_chosen(pair):
    feed, names = feed_for(pair[1]), [o.name for o in pair[1].get_outputs()][::-1]
    ours, theirs = (s.run(names, feed) for s in pair)
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(theirs), rtol=1e-5, atol=1e-6)


def test_providers_and_metadata(pair):
    ours, theirs = pair
    assert ours.get_providers() == theirs.get_providers() == ["CPUExecutionProvider"]
    assert ours.get_modelmeta().custom_metadata_map == theirs.get_modelmeta().custom_metadata_map
    assert ours.get_modelmeta().graph_name == theirs.get_modelmeta().graph_name


def test_unknown_output_is_an_error(pair):
    with pytest.raises(edgerun.InputError, match="expected some of"):
        pair[0].run(["nothing"], feed_for(pair[1]))


@pytest.mark.parametrize("module", [edgerun, ort], ids=["edgerun", "onnxruntime"])
def test_missing_input_is_a_value_error_in_both(model, module):
    with pytest.raises(ValueError, match="input"):
        module.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {})


def test_all_options_of_onnxruntime_are_accepted():
    theirs, ours = ort.SessionOptions(), edgerun.SessionOptions()
    plain = {n: getattr(theirs, n) for n in dir(theirs) if not n.startswith("_") and not callable(getattr(theirs, n))}
    for name, value in plain.items():
        setattr(ours, name, value)
    assert {n: getattr(ours, n) for n in plain} == plain


def test_models_with_exits_return_all_outputs(exit_bytes, image):
    assert [o.shape for o in edgerun.InferenceSession(exit_bytes).run(None, {"image": image})] == [(1, 3), (1, 3)]


def test_policy_leaves_later_outputs_out(exit_bytes, image):
    options = edgerun.SessionOptions()
    options.exit_policy, options.thresholds = "confidence", (0.0,)
    session = edgerun.InferenceSession(exit_bytes, options)
    first, last = session.run(None, {"image": image})
    assert first.shape == (1, 3)
    assert last is None
    assert session.run_verified({"image": image}).exit == session._session.run(image).exit


def test_findings_become_a_warning(exit_bytes, image):
    session = edgerun.InferenceSession(exit_bytes)
    step = next(k for k, s in enumerate(session._session.plan.steps) if s.checks)
    session._session.arm_fault(step, 0, 1 << 30)
    with pytest.warns(edgerun.FaultWarning, match=f"step {step} "):
        outputs = session.run(None, {"image": image})
    assert len(outputs) == 2


def test_other_providers_are_named_in_a_warning(exit_bytes):
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        edgerun.InferenceSession(exit_bytes, providers=[("CUDAExecutionProvider", {"device_id": 0})])


@pytest.mark.parametrize("name", ["GraphOptimizationLevel", "ExecutionMode"])
def test_enumerations_have_the_same_values(name):
    theirs = {k: int(v) for k, v in getattr(ort, name).__members__.items()}
    assert theirs.items() <= {k: int(v) for k, v in getattr(edgerun, name).__members__.items()}.items()


def test_calls_of_the_module_are_there():
    edgerun.set_default_logger_severity(3)
    assert edgerun.get_device() == "CPU"
    assert set(edgerun.get_available_providers()) <= set(edgerun.get_all_providers()) <= set(ort.get_all_providers())


@pytest.mark.parametrize(("call", "arguments"), [
    ("disable_fallback", ()), ("enable_fallback", ()), ("set_providers", (["CPUExecutionProvider"],)),
    ("get_overridable_initializers", ()), ("get_provider_options", ()),
])
def test_calls_of_the_session_answer_the_same(pair, call, arguments):
    ours, theirs = (getattr(s, call)(*arguments) for s in pair)
    assert ours == theirs


def test_end_profiling_names_no_file(exit_bytes):
    assert edgerun.InferenceSession(exit_bytes).end_profiling() == ""


@pytest.mark.parametrize(("owner", "call", "arguments"), [
    ("options", "register_custom_ops_library", ("ops.so",)), ("options", "add_initializer", ("w", None)),
    ("options", "add_free_dimension_override_by_denotation", ("DATA_BATCH", 1)), ("session", "io_binding", ()),
])
def test_calls_that_are_not_there_say_so(exit_bytes, owner, call, arguments):
    target = edgerun.SessionOptions() if owner == "options" else edgerun.InferenceSession(exit_bytes)
    with pytest.raises(edgerun.OptionError, match=call):
        getattr(target, call)(*arguments)


@pytest.mark.parametrize(("policy", "name", "value"), [
    ("none", "nonfinite", "allow"), ("patience", "patience", 3), ("deadline", "budget_ms", 5), ("dart", "adaptive", True),
])
def test_options_of_ours_reach_the_session(exit_bytes, monkeypatch, policy, name, value):
    seen = {}
    monkeypatch.setattr("edgerun.ort_compat.Session", lambda model, **given: seen.update(given) or edgerun.Session(model))
    options = edgerun.SessionOptions()
    options.exit_policy = policy
    setattr(options, name, value)
    edgerun.InferenceSession(exit_bytes, options)
    assert (seen["exit_policy"], seen[name]) == (policy, value)


def test_nan_can_be_allowed(exit_bytes, image):
    options = edgerun.SessionOptions()
    options.nonfinite, options.checks = "allow", "off"
    image[:] = np.nan
    assert np.isnan(edgerun.InferenceSession(exit_bytes, options).run(None, {"image": image})[1]).all()


def test_a_batch_with_a_policy_warns_once(exit_bytes, image):
    options = edgerun.SessionOptions()
    options.exit_policy, options.thresholds = "confidence", (0.0,)
    session, feed = edgerun.InferenceSession(exit_bytes, options), {"image": np.repeat(image, 3, 0)}
    with pytest.warns(edgerun.EdgeRunWarning, match="a batch runs to the last exit"):
        first = session.run(None, feed)
    assert [o.shape for o in first] == [(3, 3), (3, 3)]
    assert len(session.run(None, feed)) == 2  # warnings are errors here
    assert [s.exit.index for s in session.run_verified(feed).samples] == [0, 0, 0]
