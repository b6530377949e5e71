"""`edgerun board` as a person or a script meets it."""

from __future__ import annotations

import json

import firmware_case as case
import numpy as np
import pytest

from edgerun_tools import cli, common
from edgerun_tools.boards import BOARDS

HERE = [case.board("mps2-an386"), case.board("atmega328p"), case.board("host")]


@pytest.fixture
def edgerun(capsys, monkeypatch):
    """Runs the command line; returns (exit code, stdout, stderr)."""
    monkeypatch.setattr(common.answers, "width", 160)  # a worker of pytest-xdist has 80 columns

    def call(*words):
        code = cli.main(["board", *(str(w) for w in words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, case.dense_inputs(3))
    return path


@pytest.mark.parametrize("name", HERE)
def test_json(name, edgerun, tmp_path, inputs):
    kept = tmp_path / "y.npz"
    code, out, err = edgerun("run", case.dense(tmp_path / "f"), "--board", name, "--input", inputs, "--json", "--save-outputs", kept)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["schema"] == "edgerun.board/1"
    assert (found["end"], found["selftest"], found["board"], found["unit"]) == ("ok", 0, name, BOARDS[name].unit)
    want = case.dense_answers(case.dense_inputs(3))
    assert [s["outputs"]["y"]["data"] for s in found["samples"]] == want.reshape(3, 10).tolist()
    np.testing.assert_array_equal(np.load(kept)["y"], want)
    assert found["count"]["min"] <= found["count"]["mean"] <= found["count"]["max"]
    assert 0 < found["bytes"]["stack"] < found["bytes"]["stack_limit"]
    assert found["bytes"]["firmware"]["flash"] < found["bytes"]["image"]["flash"]


@pytest.mark.parametrize("name", HERE)
def test_table(name, edgerun, tmp_path, inputs):
    code, out, _ = edgerun("run", case.dense(tmp_path / "f"), "--board", name, "--input", inputs, "--input", inputs, "--checks-report")
    assert code == 0
    assert len([line for line in out.splitlines() if "70000" in line]) == 6
    assert "checks_passed" in out
    assert "self-test     passed" in out


@pytest.mark.parametrize("name", HERE)
def test_random_inputs_follow_the_seed(name, edgerun, tmp_path):
    folder = case.dense(tmp_path / "f")
    a, b, c = (json.loads(edgerun("run", folder, "--board", name, "--random", 2, "--seed", s, "--json")[1])["samples"] for s in (1, 1, 2))
    first, again, other = ([s["outputs"] for s in found] for found in (a, b, c))
    assert first == again != other


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(("code", "exits"), [("y[0] = 1; return 0;", 0), ("y[0] = 1; return 3;", 0), ("y[0] = 1; return -2;", 5),
                                             ("while (x[0] != 0) { *(volatile int *)y; } return 0;", 124)])
def test_exit_codes(name, code, exits, edgerun, tmp_path):
    folder = case.write(tmp_path / "f", f"int f_run(const int *x, int *y) {{ {code} }}", [("x", "int32", [1])], [("y", "int32", [1])])
    assert edgerun("run", folder, "--board", name, "--random", 2, "--seed", 5, "--timeout", 3)[0] == exits


@pytest.mark.parametrize("name", [case.board("mps2-an386")])
def test_an_exception_is_told(name, edgerun, tmp_path):
    code = "int f_run(const int *x, int *y) { y[0] = x[0]; __builtin_trap(); }"
    folder = case.write(tmp_path / "f", code, [("x", "int32", [1])], [("y", "int32", [1])])
    exits, out, _ = edgerun("run", folder, "--board", name, "--random", 2)
    assert exits == 1
    assert "ended by fault in sample 0: HardFault, undefined instruction" in out


@pytest.mark.parametrize("name", [case.board("mps2-an386")])
def test_a_failed_self_test(name, edgerun, tmp_path):
    code = "int f_run(const int *x, int *y) { y[0] = x[0]; return 0; }\nint f_selftest(void) { return 4; }"
    folder = case.write(tmp_path / "f", code, [("x", "int32", [1])], [("y", "int32", [1])], selftest="f_selftest")
    exits, out, _ = edgerun("run", folder, "--board", name, "--random", 1)
    assert exits == 5
    assert "FAILED: 4" in out


@pytest.mark.parametrize("name", [case.board("host")])
def test_named_inputs_and_archives(name, edgerun, tmp_path):
    code = "void f_run(const float *a, const float *b, float *y) { y[0] = a[0] - b[0]; }"
    folder = case.write(tmp_path / "f", code, [("a", "float32", [1]), ("b", "float32", [1])], [("y", "float32", [1])],
                        run={"symbol": "f_run", "returns": "void"})
    a, b = np.float32([[1], [2]]), np.float32([[5], [7]])
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    np.savez(tmp_path / "ab.npz", a=a, b=b)
    for words in (["--input", f"b={tmp_path / 'b.npy'}", "--input", f"a={tmp_path / 'a.npy'}"], ["--input", tmp_path / "ab.npz"]):
        _, out, _ = edgerun("run", folder, "--board", name, *words, "--json")
        assert [s["outputs"]["y"]["data"] for s in json.loads(out)["samples"]] == [[-4.0], [-5.0]]


@pytest.mark.parametrize("name", [case.board("host")])
def test_what_is_kept(name, edgerun, tmp_path, inputs):
    assert edgerun("run", case.dense(tmp_path / "f"), "--board", name, "--input", inputs, "--keep", tmp_path / "kept")[0] == 0
    assert {"case.c", "image.elf", "in.bin", "out.bin"} <= {p.name for p in (tmp_path / "kept").iterdir()}


@pytest.mark.parametrize(("words", "exits", "what"), [
    (["--board", "host"], 2, "neither"), (["--board", "host", "--random", "1", "--input", "{x}"], 2, "both"),
    (["--board", "pdp11", "--random", "1"], 2, "mps2-an386"), (["--board", "host", "--input", "{none}"], 4, "none.npy"),
    (["--board", "host", "--random", "1", "--opt", "9"], 2, "--opt 9"), (["--board", "host", "--input", "z={x}"], 4, "expected inputs x"),
])
@pytest.mark.skipif(bool(case.missing("host")), reason=case.missing("host"))
def test_wrong_words(words, exits, what, edgerun, tmp_path, inputs):
    words = [w.format(x=inputs, none=tmp_path / "none.npy") for w in words]
    code, _, err = edgerun("run", case.dense(tmp_path / "f"), *words)
    assert code == exits
    assert what in err


def test_no_firmware(edgerun, tmp_path):
    code, _, err = edgerun("run", tmp_path, "--board", "host", "--random", 1)
    assert code == 3
    assert "edgerun codegen" in err


def test_a_missing_tool(edgerun, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = edgerun("run", case.dense(tmp_path / "f"), "--board", "mps2-an386", "--random", 1)
    assert code == 1
    assert "apt-get install gcc-arm-none-eabi" in err


def test_list(edgerun):
    code, out, _ = edgerun("list")
    assert code == 0
    assert all(n in out for n in BOARDS)
    found = json.loads(edgerun("list", "--json")[1])
    assert [b["name"] for b in found["boards"]] == list(BOARDS)
