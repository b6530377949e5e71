"""edgerun codegen: what it writes and says, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from firmware import build
from onnx import TensorProto, helper, numpy_helper

from edgerun import Session
from edgerun.errors import LimitError, OptionError, ShapeError, UnsupportedOpError
from edgerun_tools import cli
from edgerun_tools.boards.table import BOARDS, MIB
from edgerun_tools.codegen.command import codegen
from edgerun_tools.codegen.generate import of_session
from edgerun_tools.codegen.report import deepest
from edgerun_tools.codegen.targets import PACKAGES, TARGETS, missing


def saved(path, nodes, inputs, outputs, constants=None) -> str:
    infos = [[helper.make_tensor_value_info(n, t, s) for n, t, s in group] for group in (inputs, outputs)]
    initializers = [numpy_helper.from_array(v, n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", infos[0], infos[1], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.fixture
def dense(tmp_path) -> str:
    """x [1,64] → Gemm → Relu → y [1,32]; 8 KiB of weights."""
    rng = np.random.default_rng(1)
    constants = {"w": rng.standard_normal((64, 32)).astype(np.float32), "b": rng.standard_normal(32).astype(np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["g"], "dense"), helper.make_node("Relu", ["g"], ["y"], "relu")]
    return saved(tmp_path / "my net-1.onnx", nodes, [("x", TensorProto.FLOAT, [1, 64])], [("y", TensorProto.FLOAT, [1, 32])], constants)


def test_it_writes_and_says(dense, tmp_path, capsys):
    assert cli.main(["codegen", dense, "-o", str(tmp_path / "c"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "edgerun.codegen/1"
    assert (said["prefix"], said["macs"], said["measured"]) == ("my_net_1", 2048, None)
    assert said["constants"] >= 4 * (64 * 32 + 32)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["CMakeLists.txt", "firmware.json", "my_net_1.c", "my_net_1.h"]
    header = (tmp_path / "c" / "my_net_1.h").read_text()
    assert "#define MY_NET_1_INPUT0_ELEMENTS 64" in header
    assert f"#define MY_NET_1_ARENA_BYTES {said['arena']}" in header
    assert "int my_net_1_run(const float *x, float *y, my_net_1_report *report);" in header


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imac"])
def test_the_report_measures(core, dense, tmp_path):
    if lacks := missing(TARGETS[core]):
        pytest.skip(f"not installed: {lacks}")
    m = codegen(dense, str(tmp_path / "c"), target_name=core, report=True)["measured"]
    assert m["flash"] > m["code"] > 0
    assert m["ram"] >= 128
    assert 0 < m["stack"] < 1024


@pytest.mark.parametrize(("lacking", "said"), [
    ({"compiler": "pdp11-gcc"}, "pdp11-gcc on the path"), ({"flags": ("-nostdinc",)}, "C library")])
def test_the_report_without_its_tools_says_what_to_install(lacking, said, dense, tmp_path, monkeypatch):
    if lacks := missing(TARGETS["host"]):
        pytest.skip(f"not installed: {lacks}")
    monkeypatch.setitem(TARGETS, "host", replace(TARGETS["host"], **lacking))
    monkeypatch.setitem(PACKAGES, "pdp11-gcc", "gcc-pdp11")
    with pytest.raises(OptionError, match=f"{said}.*host.*apt install gcc"):
        codegen(dense, str(tmp_path / "c"), target_name="host", report=True)


@pytest.mark.parametrize("core", [t for t in TARGETS.values() if t.board in BOARDS], ids=lambda t: t.name)
def test_a_target_has_the_memory_of_its_board(core):
    board = BOARDS[core.board]
    assert (board.target, board.flags) == (core.name, core.flags)
    assert (board.flash[1] + board.flash[0] % MIB, board.ram[1]) == (core.flash, core.ram)  # vectors may lie below what is linked


def test_the_deepest_chain_counts():
    node, edge = 'node: {{ title: "{0}" label: "{0}\\n{1} bytes (static)" }}', 'edge: {{ sourcename: "{0}" targetname: "{1}" }}'
    frames = {"m.c:run": 8, "a": 100, "b": 40, "c": 70}
    calls = [("m.c:run", "a"), ("m.c:run", "b"), ("b", "c"), ("c", "b")]
    text = "\n".join([node.format(*f) for f in frames.items()] + [edge.format(*c) for c in calls])
    assert deepest(text, "run") == 8 + 40 + 70


@pytest.mark.parametrize("most", [{"max_ram": 100}, {"max_flash": 8000}])
def test_too_little_memory(dense, most, tmp_path):
    with pytest.raises(LimitError, match=r"expected at most \d+ bytes; found \d+ .*node 'dense"):
        codegen(dense, str(tmp_path / "c"), **most)
    assert not (tmp_path / "c").exists()


def test_an_operator_without_a_piece(tmp_path):
    model = saved(tmp_path / "m.onnx", [helper.make_node("Asinh", ["x"], ["y"], "late")], [("x", TensorProto.FLOAT, [2])],
                  [("y", TensorProto.FLOAT, [2])])
    with pytest.raises(UnsupportedOpError, match=r"Asinh, node 'late': expected an operator that generated C has for host \(add, "):
        codegen(model, str(tmp_path / "c"))


def test_shapes_must_be_known(tmp_path):
    model = saved(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [("x", TensorProto.FLOAT, [1, "n"])],
                  [("y", TensorProto.FLOAT, [1, "n"])])
    with pytest.raises(ShapeError, match="generated C has fixed shapes"):
        codegen(model, str(tmp_path / "c"))
    assert codegen(model, str(tmp_path / "c"), shapes={"x": (1, 5)})["arena"] >= 20


@pytest.mark.parametrize(("options", "said"), [
    ({"target_name": "z80"}, "--target"), ({"prefix": "2 b"}, "--prefix"), ({"checks": "maed-paper"}, "--checks"),
    ({"checks": "some"}, "checks"), ({"checks": "full", "on_fault": "restrict"}, "--on-fault"),
])
def test_options_that_are_none(dense, options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        codegen(dense, str(tmp_path / "c"), **options)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_selftest_sees_a_changed_weight(compiler, dense, tmp_path):
    with Session(dense, checks="off") as session:
        firmware = of_session(session, "net", "x */ ??/ \\ é", "host")
    build(firmware, tmp_path / "sound", compiler, flags=("-O1",)).run([])
    source, changed = re.subn(r"(step0_weights\[2048\] = \{\s+)[^,]+,", r"\g<1>100.0f,", firmware.sources.source, count=1)
    assert changed == 1
    broken = replace(firmware, sources=replace(firmware.sources, source=source))
    with pytest.raises(AssertionError, match="90"):
        build(broken, tmp_path / "broken", compiler, flags=("-O1",)).run([])
