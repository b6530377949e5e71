"""Every form of a layer that `edgerun harden` checks: clean runs of ordinary and extreme numbers raise no flag, and one changed
weight does, under ONNX Runtime and under ours."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun_tools.hardening import FAULT, STEPS, harden_model
from edgerun_tools.hardening.campaign import session

pytest.importorskip("onnxruntime", reason="runs the hardened models")
pytestmark = pytest.mark.filterwarnings("ignore::edgerun.errors.EdgeRunWarning")
FLOAT = TensorProto.FLOAT


def conv(channels=6, filters=8, kernel=(3, 3), size=(9, 11), group=1, batch=2, op="Conv", relu=False, dynamic=False, bias=True,
         merged=(), **attributes):
    """x → (Relu) → op → whatever is merged; returns (nodes, input, constants, output)."""
    rng = np.random.default_rng(5)
    shape = (channels, filters // group, *kernel) if op == "ConvTranspose" else (filters, channels // group, *kernel)
    constants = {"w": rng.standard_normal(shape).astype(np.float32)}
    nodes = [helper.make_node("Relu", ["x"], ["r"], "relu")] if relu else []
    inputs = ["r" if relu else "x", "w"]
    if bias:
        constants["b"] = rng.standard_normal(filters).astype(np.float32)
        inputs.append("b")
    out = "t" if merged else "y"
    nodes.append(helper.make_node(op, inputs, [out], "layer", group=group, **attributes))
    if "BatchNormalization" in merged:
        for k, name in enumerate(("gain", "shift", "mean", "variance")):
            constants[name] = (rng.standard_normal(filters) if k < 3 else rng.uniform(0.1, 2, filters)).astype(np.float32)
        nodes.append(helper.make_node("BatchNormalization", [out, "gain", "shift", "mean", "variance"], ["y"], "norm"))
    if "Add" in merged:
        constants["added"] = rng.standard_normal((filters, *[1] * len(kernel))).astype(np.float32)
        nodes.append(helper.make_node("Add", [out, "added"], ["y"], "add"))
    sizes = [f"d{k}" for k in range(len(size))] if dynamic else list(size)
    return nodes, ("x", FLOAT, ["batch", channels, *sizes]), (batch, channels, *size), constants


CONVS = {
    "plain": conv(),
    "after relu": conv(relu=True),
    "pointwise after relu": conv(kernel=(1, 1), relu=True),
    "pointwise, stride 2": conv(kernel=(1, 1), strides=[2, 2], relu=True),
    "padded, strided, dilated": conv(pads=[2, 1, 0, 3], strides=[2, 1], dilations=[1, 2]),
    "same upper": conv(auto_pad="SAME_UPPER", strides=[2, 2], relu=True),
    "same lower": conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "valid": conv(auto_pad="VALID"),
    "grouped": conv(group=2, pads=[1, 1, 1, 1]),
    "depthwise": conv(filters=6, group=6, pads=[1, 1, 1, 1], relu=True),
    "depthwise, two filters": conv(filters=12, group=6, pads=[1, 1, 1, 1]),
    "no bias": conv(bias=False),
    "one dimension": conv(kernel=(5,), size=(40,), pads=[2, 2]),
    "three dimensions": conv(kernel=(2, 3, 2), size=(5, 6, 7), relu=True),
    "large image": conv(channels=2, filters=3, size=(96, 90), pads=[1, 1, 1, 1], batch=1),
    "large image after relu": conv(channels=2, filters=3, size=(96, 90), pads=[1, 1, 1, 1], strides=[2, 2], relu=True),
    "normalised": conv(merged=("BatchNormalization",)),
    "constant added": conv(merged=("Add",), bias=False),
    "dynamic": conv(dynamic=True, pads=[1, 1, 1, 1]),
    "dynamic, grouped": conv(dynamic=True, group=2, strides=[2, 2]),
    "dynamic, depthwise": conv(dynamic=True, filters=6, group=6, relu=True),
    "dynamic, normalised": conv(dynamic=True, merged=("BatchNormalization",)),
    "transposed": conv(op="ConvTranspose", strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]),
    "transposed, grouped": conv(op="ConvTranspose", group=2, dilations=[2, 1]),
    "transposed, same upper": conv(op="ConvTranspose", strides=[2, 2], auto_pad="SAME_UPPER", relu=True),
    "transposed, same lower": conv(op="ConvTranspose", strides=[3, 2], auto_pad="SAME_LOWER"),
    "transposed, output shape": conv(op="ConvTranspose", strides=[2, 2], output_shape=[18, 20]),
}


def product(op="MatMul", shape=(3, 20), outputs=40, add=False, **attributes):
    """x·w, perhaps with a bias."""
    rng = np.random.default_rng(6)
    depth = shape[0] if attributes.get("transA") else shape[-1]
    w = rng.standard_normal((outputs, depth) if attributes.get("transB") else (depth, outputs)).astype(np.float32)
    constants, inputs = {"w": w}, ["x", "w"]
    if op == "Gemm":
        constants["b"] = rng.standard_normal(outputs).astype(np.float32)
        inputs.append("b")
    nodes = [helper.make_node(op, inputs, ["t" if add else "y"], "layer", **attributes)]
    if add:
        constants["added"] = rng.standard_normal(outputs).astype(np.float32)
        nodes.append(helper.make_node("Add", ["added", "t"], ["y"], "add"))
    given = list(shape) if attributes.get("transA") else ["batch", *shape[1:]]
    return nodes, ("x", FLOAT, given), shape, constants


PRODUCTS = {
    "matmul": product(),
    "matmul, prime outputs": product(outputs=37),
    "matmul, few outputs": product(outputs=5),
    "matmul, added": product(add=True),
    "matmul of rows": product(shape=(2, 7, 20)),
    "matmul of rows, four dimensions": product(shape=(2, 3, 7, 20), outputs=24),
    "gemm": product("Gemm"),
    "gemm, transposed": product("Gemm", transB=1, alpha=0.5, beta=2.0),
    "gemm, input transposed": product("Gemm", shape=(20, 3), transA=1),
}
CASES = CONVS | PRODUCTS


def model_of(case) -> onnx.ModelProto:
    nodes, given, _, constants = case
    out = helper.make_tensor_value_info("y", FLOAT, [None] * len(given[2]))
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info(*given)], [out],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ran(model, x, level="all"):
    runner = session(model.SerializeToString(), level)
    return dict(zip([o.name for o in runner.get_outputs()], runner.run(None, {"x": x}), strict=True))


def numbers(shape, kind, seed=0):
    """Inputs [*shape] float32 of several characters."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape)
    values = {
        "normal": normal,
        "large": normal * 1e12,
        "small": normal * 1e-12,
        "all sizes": normal * 10.0 ** rng.uniform(-12, 12, shape),
        "one giant": np.where(rng.uniform(size=shape) < 0.01, 1e12, normal),
        "constant": np.full(shape, 0.1),
        "cancelling": np.where(np.arange(normal.size).reshape(shape) % 2, 1e6, -1e6) + normal,
        "subnormal": normal * 1e-40,
        "zero": np.zeros(shape),
    }[kind]
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["normal", "large", "small", "all sizes", "one giant", "constant", "cancelling", "subnormal", "zero"])
@pytest.mark.parametrize("name", CASES)
def test_clean_runs_are_not_flagged(name, kind):
    model = model_of(CASES[name])
    hardened = harden_model(model)
    x = numbers(CASES[name][2], kind)
    before, after = ran(model, x), ran(hardened.model, x)
    assert [c.kind for c in hardened.checks if c.layer == "layer"] == ["abft"]
    assert not after[STEPS].any() and not after[FAULT]
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-5, atol=1e-5 * np.abs(before["y"]).max())


@pytest.mark.parametrize("name", CASES)
def test_our_runtime_agrees(name):
    hardened = harden_model(model_of(CASES[name])).model
    x = numbers(CASES[name][2], "normal")
    theirs = ran(hardened, x)
    ours = Session(hardened.SerializeToString(), threads=1).run({"x": x}).outputs
    assert not ours[FAULT] and ours[STEPS].shape == theirs[STEPS].shape and not ours[STEPS].any()
    np.testing.assert_allclose(ours["y"], theirs["y"], rtol=1e-4, atol=1e-5 * np.abs(theirs["y"]).max())


def changed(model, name, change) -> onnx.ModelProto:
    """A copy with one element of a constant changed: one that is larger than most."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    held = next(i for i in copy.graph.initializer if i.name == name)
    values = np.array(numpy_helper.to_array(held))
    place = np.argsort(np.abs(values.astype(float)), axis=None)[values.size * 3 // 4]
    values.reshape(-1)[place] = change(values.reshape(-1)[place])
    held.CopyFrom(numpy_helper.from_array(values, name))
    return copy


CHANGES = {"sign": lambda v: -v, "half": lambda v: v / 2, "lost": lambda v: 0 * v, "giant": lambda v: v * 1e30, "nan": lambda v: v * np.nan,
           "infinite": lambda v: v * np.inf}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("level", ["none", "basic", "extended", "all"])
@pytest.mark.parametrize("name", CASES)
def test_a_changed_weight_is_flagged(name, level, change):
    hardened = harden_model(model_of(CASES[name]), ["abft"])
    x = numbers(CASES[name][2], "normal")
    faulty = changed(hardened.model, "w", CHANGES[change])
    found = ran(faulty, x, level)
    flagged = [c.layer for c, wrong in zip(hardened.checks, found[STEPS], strict=True) if wrong]
    assert flagged == ["layer"] and found[FAULT]


BIASED = [n for n, c in CASES.items() if "b" in c[3]]


@pytest.mark.parametrize("name", BIASED)
def test_a_changed_bias_is_flagged(name):
    hardened = harden_model(model_of(CASES[name]), ["abft"])
    assert ran(changed(hardened.model, "b", lambda v: v + 1), numbers(CASES[name][2], "normal"))[FAULT]


MERGED = [(n, c) for n, case in CASES.items() for c in ("gain", "shift", "mean", "variance", "added") if c in case[3]]


@pytest.mark.parametrize(("name", "constant"), MERGED)
def test_a_changed_merged_constant_is_flagged(name, constant):
    hardened = harden_model(model_of(CASES[name]), ["abft"])
    assert ran(changed(hardened.model, constant, lambda v: v + 1), numbers(CASES[name][2], "normal"))[FAULT]


@pytest.mark.parametrize("name", ["after relu", "depthwise", "plain", "gemm"])
def test_every_sample_of_a_batch_is_looked_at(name):
    """A weight that only the last sample's input meets."""
    hardened = harden_model(model_of(CASES[name]), ["abft"])
    x = numbers((5, *CASES[name][2][1:]), "normal")
    x[:4] = 0
    assert ran(changed(hardened.model, "w", lambda v: -v), x)[FAULT]


def test_zero_mean_inputs_hide_nothing():
    """Every channel sums to zero over all positions, as after an instance normalisation: equal weights of the positions would be
    blind to a changed 1×1 weight."""
    case = conv(kernel=(1, 1), size=(8, 8))
    x = numbers(case[2], "normal")
    x -= x.mean(axis=(2, 3), keepdims=True)
    hardened = harden_model(model_of(case), ["abft"])
    assert ran(changed(hardened.model, "w", lambda v: -v), x)[FAULT]


def tf32(values):
    """Rounded to 11 significant bits, as tensor cores take their operands."""
    bits = values.view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("name", ["after relu", "plain", "depthwise", "large image", "dynamic", "gemm", "matmul of rows"])
def test_tensor_cores_need_their_own_bounds(name):
    """Weights as tensor cores round them raise no flag; a change that matters does."""
    hardened = harden_model(model_of(CASES[name]), ["abft"], arithmetic="tf32").model
    x = tf32(numbers(CASES[name][2], "normal"))
    rounded = onnx.ModelProto()
    rounded.CopyFrom(hardened)
    held = next(i for i in rounded.graph.initializer if i.name == "w")
    held.CopyFrom(numpy_helper.from_array(tf32(numpy_helper.to_array(held)), "w"))
    assert not ran(rounded, x)[FAULT]
    assert ran(changed(hardened, "w", lambda v: -64 * v), x)[FAULT]


@pytest.mark.parametrize("name", ["after relu", "depthwise", "gemm", "matmul of rows"])
def test_tensor_cores_are_beyond_the_bounds_of_float32(name):
    hardened = harden_model(model_of(CASES[name]), ["abft"]).model
    held = next(i for i in hardened.graph.initializer if i.name == "w")
    held.CopyFrom(numpy_helper.from_array(tf32(numpy_helper.to_array(held)), "w"))
    assert ran(hardened, tf32(numbers(CASES[name][2], "normal")))[FAULT]


# -- products of two inputs, integers ---------------------------------------------------------------------------------


def test_a_product_of_two_inputs_is_checked_while_it_runs():
    nodes = [helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[0, 2, 1]), helper.make_node("MatMul", ["x", "t"], ["y"], "layer")]
    model = model_of((nodes, ("x", FLOAT, ["batch", 6, 20]), (2, 6, 20), {}))
    hardened = harden_model(model)
    assert [(c.layer, c.kind) for c in hardened.checks] == [("layer", "abft"), ("y", "finite")]
    assert not ran(hardened.model, numbers((2, 6, 20), "all sizes"))[FAULT]
    wrong = onnx.ModelProto()
    wrong.CopyFrom(hardened.model)
    for node in wrong.graph.node:  # the product goes wrong: another operand than the check was told
        if node.name == "layer":
            node.input[0] = "doubled"
    wrong.graph.node.insert(0, helper.make_node("Add", ["x", "x"], ["doubled"]))
    assert ran(wrong, numbers((2, 6, 20), "normal"))[FAULT]


def integer_model(op, signed, zero):
    rng = np.random.default_rng(8)
    w = rng.integers(-60, 60, (6, 2, 3, 3) if op == "ConvInteger" else (20, 9)).astype(np.int8)
    held = {"w": w, "zx": np.array(zero, np.int8 if signed else np.uint8), "zw": np.array(3, np.int8)}
    attributes = {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 1]} if op == "ConvInteger" else {}
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    shape = ["batch", 4, 9, 10] if op == "ConvInteger" else ["batch", 20]
    graph = helper.make_graph([helper.make_node(op, ["x", "w", "zx", "zw"], ["y"], "layer", **attributes)], "test",
                              [helper.make_tensor_value_info("x", kind, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.INT32, [None] * len(shape))],
                              [numpy_helper.from_array(a, n) for n, a in held.items()])
    x = rng.integers(-30, 30, (2, *shape[1:])) + (0 if signed else 60)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), x.astype(np.int8 if signed else np.uint8)


@pytest.mark.parametrize("level", ["none", "all"])
@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_integer_layers_are_exact(op, level):
    model, x = integer_model(op, signed=False, zero=7)
    hardened = harden_model(model, ["abft"])
    clean = ran(hardened.model, x, level)
    np.testing.assert_array_equal(clean["y"], ran(model, x, level)["y"])
    assert clean[STEPS].shape == (1,) and not clean[FAULT]
    assert ran(changed(hardened.model, "w", lambda v: v + 1), x, level)[FAULT]  # the smallest change there is


# -- what is left unchecked says why -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "constants", "reason"), [
    ([helper.make_node("Conv", ["x", "k"], ["y"], "layer"), helper.make_node("Identity", ["k0"], ["k"], "k")], {}, "no constant"),
    ([helper.make_node("Conv", ["x", "w"], ["y"], "layer")], {"w": np.full((2, 3, 1, 1), np.nan, np.float32)}, "not finite"),
])
def test_layers_without_a_check_say_why(nodes, constants, reason):
    model = model_of((nodes, ("x", FLOAT, ["batch", 3, 5, 5]), (1, 3, 5, 5), constants))
    if not constants:
        model.graph.input.append(helper.make_tensor_value_info("k0", FLOAT, [2, 3, 1, 1]))
    row = next(r for r in harden_model(model).rows if r.layer == "layer")
    assert row.checks == () and reason in row.reason
