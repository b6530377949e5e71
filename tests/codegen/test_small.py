"""C for the ATmega328P, compiled for this computer: the same kernels in plain C, with sanitizers; and what that target refuses."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from firmware import agree, build, of_plan
from onnx import TensorProto, helper, numpy_helper

from edgerun.errors import LimitError, ModelError, OptionError, UnsupportedOpError
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import Plan
from edgerun_tools.codegen.command import codegen
from edgerun_tools.codegen.pieces.flash_lut import total_of
from edgerun_tools.integers import bare

AVR = "avr-atmega328p"


def saved(path, nodes, x, y, constants) -> str:
    infos = [helper.make_tensor_value_info(*v) for v in (x, y)]
    graph = helper.make_graph(nodes, "test", infos[:1], infos[1:], [numpy_helper.from_array(v, n) for n, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def quantised(path, dtype: str, inputs: int, hidden: int, activation: str, *, ends: bool = False, rough: float = 1.0) -> str:
    """x [1, inputs] → Gemm → activation → MatMul → y [1, 5], all between integers of `dtype`; ends: float32 in and out. rough: scales
    everything that is quantised up."""
    rng, zero = np.random.default_rng(inputs + hidden), 0 if dtype == "int8" else 128
    constants = {"w": rng.integers(-127, 128, (inputs, hidden), np.int8), "v": rng.integers(-127, 128, (hidden, 5), np.int8),
                 "b": rng.integers(-2000, 2000, hidden, np.int32), "w_zero": np.int8(0), "b_zero": np.int32(0)}
    grids = {"x": (1 / 128, zero + 5), "w": (1 / 127 / np.sqrt(inputs), 0), "h": (0.02, zero - 9),
             "a": (1 / 255 if activation == "Sigmoid" else 1 / 127, zero - 128 if activation == "Sigmoid" else zero),
             "v": (1 / 127 / np.sqrt(hidden), 0), "y": (0.01 * rough, zero + 3)}
    constants |= {f"{k}_scale": np.float32(s) for k, (s, _) in grids.items()}
    constants |= {f"{k}_zero": np.dtype(dtype).type(z) for k, (_, z) in grids.items() if k not in "wv"}
    constants["b_scale"] = np.float32(constants["x_scale"] * constants["w_scale"])

    def to_float(name, grid, zero_of=None):
        return helper.make_node("DequantizeLinear", [name, f"{grid}_scale", f"{zero_of or grid}_zero"], [f"{name}_float"], f"{name}_float")

    def to_integer(name, grid):
        return helper.make_node("QuantizeLinear", [name, f"{grid}_scale", f"{grid}_zero"], [f"{name}_{grid}"], f"{name}_{grid}")

    first = to_integer("image", "x") if ends else helper.make_node("Identity", ["image"], ["image_x"])
    last = [to_integer("p", "y")]
    if ends:
        last.append(helper.make_node("DequantizeLinear", ["p_y", "y_scale", "y_zero"], ["answer"], "answer"))
    else:
        last.append(helper.make_node("Identity", ["p_y"], ["answer"]))
    nodes = [first, to_float("image_x", "x"), to_float("w", "w"), to_float("b", "b"),
             helper.make_node("Gemm", ["image_x_float", "w_float", "b_float"], ["g"], "dense"), to_integer("g", "h"), to_float("g_h", "h"),
             helper.make_node(activation, ["g_h_float"], ["s"], "act"), to_integer("s", "a"), to_float("s_a", "a"),
             to_float("v", "v", "w"), helper.make_node("MatMul", ["s_a_float", "v_float"], ["p"], "out"), *last]
    kind = TensorProto.FLOAT if ends else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return saved(path, nodes, ("image", kind, [1, inputs]), ("answer", kind, [1, 5]), constants)


def plan_of(path: str) -> Plan:
    return make_plan(load(onnx.load(path)), in_place=False)


def integers(plan: Plan, runs: int) -> list[list[np.ndarray]]:
    slot = plan.slots[plan.inputs[0].slot]
    dtype = {"u8": np.uint8, "i8": np.int8}[slot.dtype]
    rng = np.random.default_rng(7)
    return [[rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, slot.shape, dtype, endpoint=True)] for _ in range(runs)]


@pytest.mark.parametrize(("dtype", "inputs", "hidden", "activation", "maed"), [
    ("uint8", 64, 24, "Sigmoid", False), ("uint8", 64, 24, "Tanh", True), ("int8", 64, 23, "Sigmoid", True), ("uint8", 3, 1, "Tanh", True),
    ("int8", 505, 7, "Tanh", False), ("uint8", 253, 6, "Sigmoid", True)])
def test_int8_has_the_same_bits(dtype, inputs, hidden, activation, maed, tmp_path):
    """More inputs than a block of sums, outputs that fill no panel, and (one hidden neuron) factors beyond 24 bits."""
    plan = plan_of(quantised(tmp_path / "m.onnx", dtype, inputs, hidden, activation))
    firmware = of_plan(plan, reaction="retry", target=AVR, maed=maed)
    assert ("er_lut_mirror(" in firmware.sources.source) == maed
    feeds = integers(plan, 20)
    for found, one in zip(build(firmware, tmp_path / "c").run(feeds), feeds, strict=True):
        np.testing.assert_array_equal(found[0], PythonExecutor(plan).run(one).outputs[0])


@pytest.mark.parametrize("maed", [False, True])
def test_float_is_within_the_bound(maed, tmp_path):
    """Operands of the activations: zeros, ordinary ones, and such that saturate."""
    rng = np.random.default_rng(3)
    constants = {"w": rng.standard_normal((6, 9)).astype(np.float32), "b": np.zeros(9, np.float32),
                 "v": rng.standard_normal((9, 9)).astype(np.float32)}
    nodes = [helper.make_node("Gemm", ["image", "w", "b"], ["g"], "dense"), helper.make_node("Tanh", ["g"], ["t"], "tanh"),
             helper.make_node("MatMul", ["t", "v"], ["p"], "second"), helper.make_node("Sigmoid", ["p"], ["answer"], "sigmoid")]
    ends = ("image", TensorProto.FLOAT, [1, 6]), ("answer", TensorProto.FLOAT, [1, 9])
    plan = plan_of(saved(tmp_path / "m.onnx", nodes, *ends, constants))
    feeds = [[scale * rng.standard_normal((1, 6)).astype(np.float32)] for scale in np.float32([0, 1e-30, 1e-3, 0.1, 1, 10, 1000, 1e6])]
    for found, one in zip(build(of_plan(plan, target=AVR, maed=maed), tmp_path / "c").run(feeds), feeds, strict=True):
        assert agree(found[0], PythonExecutor(plan).run(one).outputs[0])


def test_a_nan_is_found(tmp_path):
    nodes = [helper.make_node("Sigmoid", ["image"], ["answer"], "sigmoid")]
    plan = plan_of(saved(tmp_path / "m.onnx", nodes, ("image", TensorProto.FLOAT, [1, 2]), ("answer", TensorProto.FLOAT, [1, 2]), {}))
    ((y,), said), = build(of_plan(plan, target=AVR, maed=True), tmp_path / "c").reported([[np.float32([[np.nan, 0]])]])
    assert np.isnan(y[0, 0])
    assert (said.status, said.faults, said.first_step) == (-1, 1, 0)


def test_a_damaged_table_is_found_and_stays(tmp_path):
    """In every run: a table is constant, so that computing again does not help."""
    plan = plan_of(quantised(tmp_path / "m.onnx", "uint8", 16, 8, "Sigmoid"))
    firmware = of_plan(plan, reaction="retry", target=AVR, maed=True)
    table = re.search(r"uint8_t step1_tables\[512\] ER_PAGE = \{\n([^}]*)\}", firmware.sources.source)
    damaged = ",".join(str(int(v) ^ 4) if k < 256 else v for k, v in enumerate(table[1].split(",")))
    source = firmware.sources.source.replace(table[1], damaged).replace("_selftest(void) {", "_selftest(void) {\n  return 0;", 1)
    broken = replace(firmware, sources=replace(firmware.sources, source=source))
    (_, said), = build(broken, tmp_path / "c").reported(integers(plan, 1))
    assert (said.status, said.faults, said.recomputed, said.first_step, said.first_check, said.checks_passed) == (-1, 2, 1, 1, 1, 0)


def table_of(function, scale: float, zero: int, x_scale: float, x_zero: int) -> np.ndarray:
    x = (np.arange(256) - x_zero) * x_scale
    return np.clip(np.rint(function(x) / scale) + zero, 0, 255).astype(np.int64)


@pytest.mark.parametrize(("function", "scale", "zero", "total"), [
    (lambda x: 1 / (1 + np.exp(-x)), 1 / 255, 0, 255), (lambda x: 1 / (1 + np.exp(-x)), 1 / 240, 7, 254), (np.tanh, 1 / 127, 128, 256),
    (np.exp, 0.05, 0, None)])
def test_the_symmetry_is_seen_in_the_table(function, scale, zero, total):
    assert total_of(table_of(function, scale, zero, 0.06, 113)) == total


@pytest.mark.parametrize(("options", "said"), [({"checks": "full"}, "--checks: expected one of off, maed for avr"),
                                               ({"checks": "maed", "on_fault": "abort"}, "--on-fault: expected one of flag, retry")])
def test_checks_that_it_has_not(options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        codegen(quantised(tmp_path / "m.onnx", "uint8", 8, 8, "Tanh"), str(tmp_path / "c"), target_name=AVR, **options)


def test_nothing_to_verify(tmp_path):
    nodes = [helper.make_node("Relu", ["image"], ["answer"], "relu")]
    model = saved(tmp_path / "m.onnx", nodes, ("image", TensorProto.FLOAT, [1, 2]), ("answer", TensorProto.FLOAT, [1, 2]), {})
    with pytest.raises(OptionError, match="--checks: expected a Sigmoid or Tanh for maed on avr-atmega328p; found none"):
        codegen(model, str(tmp_path / "c"), target_name=AVR, checks="maed")


def test_an_operator_that_it_has_not(tmp_path):
    nodes = [helper.make_node("Conv", ["image", "w"], ["answer"], "conv1")]
    model = saved(tmp_path / "m.onnx", nodes, ("image", TensorProto.FLOAT, [1, 1, 8, 8]), ("answer", TensorProto.FLOAT, [1, 2, 6, 6]),
                  {"w": np.ones((2, 1, 3, 3), np.float32)})
    with pytest.raises(UnsupportedOpError, match="Conv, node 'conv1': expected an operator that generated C has for avr-atmega328p"):
        codegen(model, str(tmp_path / "c"), target_name=AVR)


def test_a_grid_that_is_too_fine(tmp_path):
    with pytest.raises(UnsupportedOpError, match="'out': generated C expects sums below 2\\^23 and scales x w / y below a half"):
        codegen(quantised(tmp_path / "m.onnx", "uint8", 4, 4, "Sigmoid", rough=0.001), str(tmp_path / "c"), target_name=AVR)


@pytest.mark.parametrize(("width", "said"), [(700, "--max-ram: expected at most 2048"), (200, "--max-flash: expected at most 32768")])
def test_more_than_the_board_has(width, said, tmp_path):
    constants = {"w": np.ones((width, 42 if width < 700 else 1), np.float32)}
    nodes = [helper.make_node("Sigmoid", ["image"], ["s"], "act"), helper.make_node("MatMul", ["s", "w"], ["answer"], "dense")]
    model = saved(tmp_path / "m.onnx", nodes, ("image", TensorProto.FLOAT, [1, width]),
                  ("answer", TensorProto.FLOAT, [1, constants["w"].shape[1]]), constants)
    with pytest.raises(LimitError, match=said):
        codegen(model, str(tmp_path / "c"), target_name=AVR)


@pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="avr-gcc is not installed")
def test_the_report_measures(tmp_path):
    """Weights and tables count as flash and not as RAM."""
    m = codegen(quantised(tmp_path / "m.onnx", "uint8", 64, 24, "Tanh"), str(tmp_path / "c"), target_name=AVR, checks="maed", report=True)
    found = m["measured"]
    assert found["flash"] > found["code"] + 64 * 24 + 512
    assert m["arena"] <= found["ram"] < m["arena"] + 32
    assert 40 < found["stack"] < 300


def test_the_ends_become_integers(tmp_path):
    model = onnx.load(quantised(tmp_path / "m.onnx", "uint8", 8, 8, "Tanh", ends=True))
    made, grids = bare(model)
    assert grids == {"image": (pytest.approx(1 / 128), 133), "answer": (pytest.approx(0.01), 131)}
    assert [v.type.tensor_type.elem_type for v in (made.graph.input[0], made.graph.output[0])] == [TensorProto.UINT8] * 2
    onnx.save(made, tmp_path / "bare.onnx")
    x = np.random.default_rng(1).integers(0, 256, (1, 8), np.uint8)
    whole, inner = (PythonExecutor(plan_of(str(tmp_path / name))) for name in ("m.onnx", "bare.onnx"))
    expected = whole.run([(x.astype(np.float32) - 133) / np.float32(128)]).outputs[0]
    np.testing.assert_array_equal((inner.run([x]).outputs[0].astype(np.float32) - 131) * np.float32(0.01), expected)


def test_ends_that_are_not_quantised(tmp_path):
    nodes = [helper.make_node("Relu", ["image"], ["answer"], "relu")]
    model = saved(tmp_path / "m.onnx", nodes, ("image", TensorProto.FLOAT, [1, 2]), ("answer", TensorProto.FLOAT, [1, 2]), {})
    with pytest.raises(ModelError, match="'image': expected a QuantizeLinear at its end; found Relu"):
        bare(onnx.load(model))
