"""Kernels on emulated cores: every shape of test_kernels.py at once, by the instructions that each core has."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from firmware import SANITIZED, agree, build, of_plan
from onnx import TensorProto, helper
from test_kernels import CONVOLUTIONS, attributes, model_of, output_shape, quantised

from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import Plan
from edgerun_tools import boards
from edgerun_tools.boards.inject import Fault
from edgerun_tools.codegen import golden
from edgerun_tools.codegen.report import measure
from edgerun_tools.codegen.targets import TARGETS

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))
import firmware_case as case

CORES = [pytest.param(*case.board(n).values, checks, marks=case.board(n).marks, id=f"{n}-{checks}")
         for n, checks in (("mps2-an386", "off"), ("mps2-an386", "full"), ("mps3-an547", "off"), ("mps3-an547", "full"),
                           ("mps2-an385-m0plus", "off"))]
"""Arm's DSP instructions, MVE, neither."""
FORMS = ((np.int8, np.int8, True), (np.uint8, np.int8, False), (np.uint8, np.uint8, False))


def int8_plan(checks: str = "off") -> Plan:
    """Each convolution in three forms, of bytes from bytes; every second one bounded; sums as int32; a dense layer."""
    nodes, constants, inputs, outputs = [], {}, {}, []
    for at, form in enumerate((f, c) for f in FORMS for c in CONVOLUTIONS.values()):
        (data, weight, by_channel), shape = form
        node, values = quantised(shape, at, data, weight, by_channel)
        name = f"x{np.dtype(data).name}_{'_'.join(map(str, (shape[0], *shape[7:])))}"
        node.input[0] = name
        kind = TensorProto.INT8 if data is np.int8 else TensorProto.UINT8
        inputs[name] = (name, kind, [2, shape[0], *shape[7:]])
        outputs.append((f"y{at}", kind, output_shape(shape, 2)))
        nodes.append(node)
        constants |= values
    rng = np.random.default_rng(9)
    constants |= {"w_sums": rng.integers(-128, 127, (6, 5, 3, 3), np.int8, endpoint=True),
                  "w_depth": rng.integers(-128, 127, (16, 1, 3, 3), np.int8, endpoint=True),
                  "w_dense": rng.integers(-128, 127, (100, 7), np.int8, endpoint=True)}
    sums = [("w_sums", [1, 5, 6, 7], [1, 6, 6, 7], 1), ("w_depth", [1, 16, 6, 9], [1, 16, 6, 9], 16)]
    for w, shape, result, group in sums:
        nodes.append(helper.make_node("ConvInteger", [f"x_{w}", w], [f"y_{w}"], pads=[1, 1, 1, 1], group=group))
        inputs[f"x_{w}"] = (f"x_{w}", TensorProto.UINT8, shape)
        outputs.append((f"y_{w}", TensorProto.INT32, result))
    nodes.append(helper.make_node("MatMulInteger", ["x_dense", "w_dense"], ["y_dense"]))
    inputs["x_dense"] = ("x_dense", TensorProto.INT8, [3, 100])
    outputs.append(("y_dense", TensorProto.INT32, [3, 7]))
    plan = make_plan(load(model_of(nodes, list(inputs.values()), outputs, constants)), checks=checks)
    assert {s.kernel.rpartition("_")[0] for s in plan.steps} >= {"qconv2d", "qconv2d_dw", "qmatmul"}
    return plan


def float_plan(checks: str = "off") -> Plan:
    """Each convolution with bias, residual and bounds; of two images."""
    rng = np.random.default_rng(8)
    nodes, inputs, outputs = [], [], []
    constants = {"low": np.float32(-1), "high": np.float32(2)}
    for k, shape in enumerate(CONVOLUTIONS.values()):
        constants |= {f"w{k}": rng.standard_normal((shape[1], shape[0] // shape[6], *shape[2])).astype(np.float32),
                      f"b{k}": rng.standard_normal(shape[1]).astype(np.float32)}
        nodes += [helper.make_node("Conv", [f"x{k}", f"w{k}", f"b{k}"], [f"c{k}"], **attributes(shape)),
                  helper.make_node("Add", [f"c{k}", f"r{k}"], [f"s{k}"]), helper.make_node("Clip", [f"s{k}", "low", "high"], [f"y{k}"])]
        inputs += [(f"x{k}", TensorProto.FLOAT, [2, shape[0], *shape[7:]]), (f"r{k}", TensorProto.FLOAT, output_shape(shape, 2))]
        outputs.append((f"y{k}", TensorProto.FLOAT, output_shape(shape, 2)))
    return make_plan(load(model_of(nodes, inputs, outputs, constants)), checks=checks)


def answers(plan: Plan, seeds=(2, 3)) -> tuple[list, list]:
    """Inputs, and what the Python executor makes of them."""
    feeds = [golden.feeds(plan, seed) for seed in seeds]
    runner = PythonExecutor(plan)
    return feeds, [list(runner.run(one).outputs) for one in feeds]


@pytest.mark.parametrize(("name", "checks"), CORES)
def test_bytes_on_a_core(name, checks, tmp_path):
    run_on(name, int8_plan(checks), tmp_path)


@pytest.mark.parametrize(("name", "checks"), CORES[2:4])
def test_floats_on_a_core(name, checks, tmp_path):
    """Vectors; what the other cores run is plain C, which test_kernels.py runs here."""
    run_on(name, float_plan(checks), tmp_path)


def run_on(name: str, plan: Plan, tmp_path: Path) -> None:
    feeds, expected = answers(plan)
    firmware = of_plan(plan, target=boards.BOARDS[name].target)
    measure(firmware, TARGETS[firmware.target], "-O1")  # without a warning
    firmware.write(tmp_path / "net")
    found = boards.run(tmp_path / "net", name, [np.stack(column) for column in zip(*feeds, strict=True)], opt="1", timeout=300)
    assert found.end == "ok", found.fault
    assert found.selftest == 0
    assert {(s.status, s.report["faults"]) for s in found.samples} == {(0, 0)}
    wrong = [n for s, truth in zip(found.samples, expected, strict=True) for (n, f), e in zip(s.outputs.items(), truth, strict=True)
             if not agree(f, e, 1e-5)]
    assert wrong == []


@pytest.mark.parametrize("name", [case.board("mps3-an547")])
@pytest.mark.parametrize("shape", ["same, many", "depthwise"])
def test_vectors_see_a_changed_weight(name, shape, tmp_path):
    """A bit of the weights, by the checksum of the product."""
    node, constants = quantised(CONVOLUTIONS[shape], 0, np.int8, np.int8, True)
    model = model_of([node], [("x_int8", TensorProto.INT8, [2, CONVOLUTIONS[shape][0], *CONVOLUTIONS[shape][7:]])],
                     [("y0", TensorProto.INT8, output_shape(CONVOLUTIONS[shape], 2))], constants)
    plan = make_plan(load(model), checks="abft")
    at = next(k for k, s in enumerate(plan.steps) if s.kernel.startswith("qconv2d"))
    of_plan(plan, target="cortex-m55").write(tmp_path / "net")
    x = np.stack([golden.feeds(plan, seed)[0] for seed in (2, 3, 4)])
    found = boards.run(tmp_path / "net", name, x, faults=[Fault(1, 0, f"step{at}_weights+3", 0x40)], timeout=120)
    assert found.end == "ok", found.fault
    assert [s.report["faults"] > 0 for s in found.samples] == [False, True, False]


@pytest.mark.parametrize(("name", "most"), [pytest.param(*case.board(n).values, m, marks=case.board(n).marks, id=n)
                                            for n, m in (("mps2-an386", 1.35), ("mps2-an500", 1.35), ("mps3-an547", 0.35))])
def test_instructions_a_product(name, most, tmp_path):
    """3x3, 16 to 16 channels, 32x32, int8: CMSIS-NN takes 2.37 instructions a multiply-accumulate on a Cortex-M4."""
    node, constants = quantised((16, 16, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, 32, 32), 0, np.int8, np.int8, True)
    node.input[0], node.output[0] = "x_t", "y_t"
    nodes = [helper.make_node("Transpose", ["x"], ["x_t"], perm=[0, 3, 1, 2]), node,
             helper.make_node("Transpose", ["y_t"], ["y"], perm=[0, 2, 3, 1])]
    constants = {n: v for n, v in constants.items() if n != "w0"} | {"w0": constants["w0"].clip(-127)}
    shape = [1, 32, 32, 16]
    model = model_of(nodes, [("x", TensorProto.INT8, shape)], [("y", TensorProto.INT8, shape)], constants)
    plan = make_plan(load(model), checks="off")
    feeds, expected = answers(plan, (2,))
    of_plan(plan, target=boards.BOARDS[name].target).write(tmp_path / "net")
    found = boards.run(tmp_path / "net", name, feeds[0][0], timeout=120)
    np.testing.assert_array_equal(found.outputs()[0], expected[0][0])
    assert plan.macs == 32 * 32 * 16 * 144
    print(f"{name}: {found.samples[0].count / plan.macs:.3f} instructions a multiply-accumulate")
    assert found.samples[0].count / plan.macs <= most


def test_the_layout_for_mve_without_mve(tmp_path):
    """C that was made for a Cortex-M55, compiled for this machine, with the sanitizers watching."""
    plan = int8_plan()
    feeds, expected = answers(plan)
    found = build(of_plan(plan, target="cortex-m55"), tmp_path, flags=(*SANITIZED, "-Wno-unused-function")).run(feeds)
    assert all(np.array_equal(f, e) for one, truth in zip(found, expected, strict=True) for f, e in zip(one, truth, strict=True))
