"""Checks of `edgerun harden` beside ABFT: activations, weights that no layer's checksum covers, ranges, finite outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun.errors import DataError, ModelError, OptionError
from edgerun_tools.hardening import FAULT, STEPS, harden_model
from edgerun_tools.hardening.campaign import LEVELS, session

pytest.importorskip("onnxruntime", reason="runs the hardened models")
pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
FLOAT = TensorProto.FLOAT
SHAPE = (2, 5, 6, 7)


def model_of(nodes, constants=None, shape=SHAPE, opset=17, kind=FLOAT, outputs=("y",)):
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("x", kind, ["batch", *shape[1:]])],
                              [helper.make_tensor_value_info(o, FLOAT, [None] * len(shape)) for o in outputs],
                              [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def ran(model, x, level="all"):
    runner = session(model.SerializeToString(), level)
    return dict(zip([o.name for o in runner.get_outputs()], runner.run(None, {"x": x}), strict=True))


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def numbers(scale=1.0, seed=0, shape=SHAPE):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


# -- activations ------------------------------------------------------------------------------------------------------

LOW, HIGH = np.array(-0.5, np.float32), np.array(6, np.float32)
ACTIVATIONS = {
    "Relu": ([helper.make_node("Relu", ["x"], ["y"], "act")], {}),
    "LeakyRelu": ([helper.make_node("LeakyRelu", ["x"], ["y"], "act", alpha=0.1)], {}),
    "LeakyRelu, steep": ([helper.make_node("LeakyRelu", ["x"], ["y"], "act", alpha=1.7)], {}),
    "Clip": ([helper.make_node("Clip", ["x", "low", "high"], ["y"], "act")], {"low": LOW, "high": HIGH}),
    "Clip above": ([helper.make_node("Clip", ["x", "", "high"], ["y"], "act")], {"high": HIGH}),
    "Clip below": ([helper.make_node("Clip", ["x", "low"], ["y"], "act")], {"low": LOW}),
    "Sigmoid": ([helper.make_node("Sigmoid", ["x"], ["y"], "act")], {}),
    "Tanh": ([helper.make_node("Tanh", ["x"], ["y"], "act")], {}),
    "HardSigmoid": ([helper.make_node("HardSigmoid", ["x"], ["y"], "act", alpha=0.3, beta=0.4)], {}),
    "HardSwish": ([helper.make_node("HardSwish", ["x"], ["y"], "act")], {}),
    "SiLU": ([helper.make_node("Sigmoid", ["x"], ["s"], "act"), helper.make_node("Mul", ["s", "x"], ["y"], "times")], {}),
    "Softmax": ([helper.make_node("Softmax", ["x"], ["y"], "act", axis=1)], {}),
    "Softmax, last": ([helper.make_node("Softmax", ["x"], ["y"], "act")], {}),
}


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e3, 1e15, 0.0])
@pytest.mark.parametrize("level", ["none", "all"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_clean_activations_are_not_flagged(name, level, scale):
    model = model_of(*ACTIVATIONS[name])
    hardened = harden_model(model, ["maed"])
    assert [c.kind for c in hardened.checks] == ["maed"]
    for seed in range(3):
        x = numbers(scale, seed)
        found = ran(hardened.model, x, level)
        np.testing.assert_array_equal(found["y"], ran(model, x, level)["y"])
        assert not found[FAULT]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_our_runtime_agrees_about_activations(name):
    hardened = harden_model(model_of(*ACTIVATIONS[name]), ["maed"]).model
    assert not Session(hardened.SerializeToString(), threads=1).run({"x": numbers(3.0)}).outputs[FAULT]


def struck(model, wrong):
    """The activation's result changed before anything reads it: a node between it and its readers."""
    copy = copied(model)
    made = next(n for n in copy.graph.node if n.output[0] == "y")
    made.output[0] = "made"
    copy.graph.initializer.append(numpy_helper.from_array(wrong, "wrong"))
    copy.graph.node.insert(list(copy.graph.node).index(made) + 1, helper.make_node("Add", ["made", "wrong"], ["y"], "strike"))
    return copy


@pytest.mark.parametrize("amount", [0.01, 1.0, 1e20, np.nan, np.inf])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_wrong_element_of_an_activation_is_flagged(name, level, amount):
    hardened = harden_model(model_of(*ACTIVATIONS[name]), ["maed"]).model
    wrong = np.zeros(SHAPE, np.float32)
    wrong[1, 2, 3, 4] = amount
    assert ran(struck(hardened, wrong), numbers(), level)[FAULT]


def test_nan_inputs_are_flagged():
    hardened = harden_model(model_of(*ACTIVATIONS["Relu"])).model
    x = numbers()
    x[0, 0, 0, 0] = np.nan
    assert ran(hardened, x)[FAULT]


# -- finite outputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "flagged"), [(np.nan, True), (np.inf, True), (-np.inf, True), (3e38, False)])
def test_outputs_must_be_finite(value, flagged):
    hardened = harden_model(model_of([helper.make_node("Neg", ["x"], ["y"], "neg")]), ["finite"])
    x = np.zeros(SHAPE, np.float32)
    x[1, 0, 0, 3] = value
    assert ran(hardened.model, x)[FAULT] == flagged


# -- weights at rest --------------------------------------------------------------------------------------------------

HELD = {"scale": np.array(0.75, np.float32), "small": np.array(1e-4, np.float32), "vector": numbers(shape=(7,)),
        "matrix": numbers(shape=(6, 7)), "column": numbers(shape=(5, 1, 1)), "places": np.array([0, 2, 1, 3, 4], np.int64)}
READ = [helper.make_node("Mul", ["x", "scale"], ["a"]), helper.make_node("Mul", ["a", "small"], ["b"]),
        helper.make_node("Mul", ["b", "vector"], ["c"]), helper.make_node("Mul", ["c", "matrix"], ["d"]),
        helper.make_node("Add", ["d", "column"], ["e"]), helper.make_node("Gather", ["e", "places"], ["y"], axis=1)]


def flipped(model, name, element, bit):
    copy = copied(model)
    held = next(i for i in copy.graph.initializer if i.name == name)
    values = np.array(numpy_helper.to_array(held))
    values.reshape(-1).view(f"u{values.itemsize}")[element] ^= 1 << bit
    held.CopyFrom(numpy_helper.from_array(values, name))
    return copy


@pytest.mark.parametrize("level", LEVELS)
def test_constants_at_rest_are_not_flagged(level):
    hardened = harden_model(model_of(READ, HELD), ["weights"])
    assert not hardened.unchecked
    assert not ran(hardened.model, numbers(), level)[FAULT]
    assert not Session(hardened.model.SerializeToString(), threads=1).run({"x": numbers()}).outputs[FAULT]


@pytest.mark.parametrize("bit", [31, 30, 27, 24, 23, 22])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [n for n, v in HELD.items() if v.dtype == np.float32])
def test_a_flipped_constant_is_flagged(name, level, bit):
    """In the file, so that whatever ONNX Runtime folds is made from the wrong number."""
    hardened = harden_model(model_of(READ, HELD), ["weights"]).model
    assert ran(flipped(hardened, name, HELD[name].size // 2, bit), numbers(), level)[FAULT]


def test_a_flipped_integer_is_flagged():
    hardened = harden_model(model_of(READ, HELD), ["weights"]).model
    assert ran(flipped(hardened, "places", 1, 0), numbers())[FAULT]


@pytest.mark.parametrize("level", LEVELS)
def test_constants_are_compared_at_run_time(level, tmp_path):
    """A flip in the optimised model's own initialiser is seen: the comparison was not folded."""
    hardened = harden_model(model_of(READ, HELD), ["weights"]).model
    path = tmp_path / "optimised.onnx"
    session(hardened.SerializeToString(), level, str(path))
    kept = onnx.load(path)
    for name in ("vector", "matrix", "column", "scale"):
        assert ran(flipped(kept, name, 0, 30), numbers(), "none")[FAULT], name


def test_recurrent_weights_are_compared():
    w, r = numbers(shape=(1, 16, 5)), numbers(shape=(1, 16, 4))
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["all", "y"], "lstm", hidden_size=4)]
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("x", FLOAT, [3, 1, 5])],
                              [helper.make_tensor_value_info("y", FLOAT, [1, 1, 4])],
                              [numpy_helper.from_array(w, "w"), numpy_helper.from_array(r, "r")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    hardened = harden_model(model)
    assert [(c.layer, c.kind) for c in hardened.checks] == [("y", "finite"), ("w", "weights"), ("r", "weights")]
    assert next(r for r in hardened.rows if r.layer == "lstm").reason == "no check for this operator"
    x = numbers(shape=(3, 1, 5))
    assert not ran(hardened.model, x)[FAULT]
    assert ran(flipped(hardened.model, "r", 7, 28), x)[FAULT]


# -- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "steps"), [(1.0, [0, 0]), (1.9, [0, 0]), (-1.9, [0, 0]), (4.0, [1, 1]), (np.inf, [1, 1])])
def test_ranges_with_their_margin(factor, steps):
    """Calibrated on -1…1, and as wide again on either side."""
    hardened = harden_model(model_of([helper.make_node("Neg", ["x"], ["y"], "neg")]), ["range"], bounds={"y": (-1.0, 1.0)})
    assert [c.kind for c in hardened.checks] == ["range above", "range below"]
    x = np.linspace(-1, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ran(hardened.model, x * np.float32(factor))[STEPS], np.array(steps, bool))


@pytest.mark.parametrize("bounds", [{"y": (1.0, -1.0)}, {"y": (np.nan, 1.0)}])
def test_ranges_that_are_none(bounds):
    with pytest.raises(DataError, match="lower one first"):
        harden_model(model_of([helper.make_node("Neg", ["x"], ["y"], "neg")]), ["range"], bounds=bounds)


# -- what cannot be hardened ------------------------------------------------------------------------------------------


def test_nothing_to_check():
    with pytest.raises(ModelError, match="something that abft can check"):
        harden_model(model_of([helper.make_node("Neg", ["x"], ["y"], "neg")]), ["abft"])


@pytest.mark.parametrize("checks", [[], ["abft", "crc"]])
def test_unknown_checks(checks):
    with pytest.raises(OptionError, match="--checks: expected some of abft, maed"):
        harden_model(model_of(*ACTIVATIONS["Relu"]), checks)


def test_unknown_arithmetic():
    with pytest.raises(OptionError, match="--arithmetic: expected float32, tf32"):
        harden_model(model_of(*ACTIVATIONS["Relu"]), arithmetic="int4")


def test_a_hardened_model_is_not_hardened_again():
    with pytest.raises(ModelError, match="found one; harden the model that this one was made from"):
        harden_model(harden_model(model_of(*ACTIVATIONS["Relu"])).model)


@pytest.mark.parametrize("opset", [7, 9, 10, 12, 13, 18, 21])
def test_opsets(opset):
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["r"], "relu"),
             helper.make_node("Upsample", ["r", "scales"], ["y"], "up", mode="linear") if opset == 9 else
             helper.make_node("Softmax", ["r"], ["y"], "softmax", axis=3)]
    constants = {"w": numbers(shape=(4, 5, 3, 3)), "scales": np.array([1, 1, 2, 2], np.float32)}
    model = model_of(nodes, constants, opset=opset)
    hardened = harden_model(model)
    found = ran(hardened.model, numbers())
    assert next(o.version for o in hardened.model.opset_import) == max(opset, 13)
    assert not found[FAULT]
    np.testing.assert_allclose(found["y"], ran(model, numbers())["y"], rtol=1e-5, atol=1e-6)
