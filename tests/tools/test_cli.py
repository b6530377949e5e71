"""The command line as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgerun.errors import DataError, OptionError
from edgerun_tools import cli, common, run


@pytest.fixture
def model(tmp_path, exit_bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(exit_bytes)
    return str(path)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (9, 9), dtype=np.uint8)).save(path)
    return str(path)


@pytest.fixture
def edgerun(capsys):
    """Runs the command line; returns (exit code, stdout, stderr)."""

    def call(*words):
        code = cli.main([str(w) for w in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_run_is_the_default_command(edgerun, model, picture):
    short, long = (edgerun(*start, model, "--input", picture, "--json") for start in ([], ["run"]))
    assert short[0] == long[0] == 0
    assert json.loads(short[1])["top"] == json.loads(long[1])["top"]


def test_json_has_the_promised_fields(edgerun, model, picture):
    code, out, err = edgerun(model, "--input", picture, "--json")
    answer = json.loads(out)
    assert code == 0
    assert err == ""
    assert answer["schema"] == "edgerun.run/1"
    assert {"top", "outputs", "exit", "difficulty", "latency_ms", "checks"} <= set(answer)
    assert answer["exit"] == {"index": 1, "of": 2, "name": "final"}
    assert set(answer["checks"]) == {"mode", "run", "findings"}
    assert answer["checks"]["mode"] == "maed"
    assert answer["checks"]["run"] > 0
    assert answer["checks"]["findings"] == []
    assert answer["latency_ms"] > 0
    assert sum(t["probability"] for t in answer["top"]) == pytest.approx(1)


def test_json_numbers_are_the_sessions(edgerun, model, picture, exit_bytes):
    import edgerun as library

    answer = json.loads(edgerun(model, "--input", picture, "--json")[1])
    session = library.Session(exit_bytes)
    expected = session.run(session.preprocess.apply(library.read_image(picture))).outputs["final"]
    np.testing.assert_array_equal(np.array(answer["outputs"]["final"]["data"], np.float32), expected)


def test_table_shows_answer_exit_time_and_checks(edgerun, model, picture):
    code, out, _ = edgerun(model, "--input", picture, "--exit-policy", "confidence", "--thresholds", "0")
    assert code == 0
    words = {line.split()[0]: line for line in out.splitlines() if line[:1].strip()}
    assert {"input", "answer", "exit", "time", "checks"} <= set(words)
    assert "1 of 2 (exit1)" in words["exit"]
    assert "nothing found" in words["checks"]


def test_several_inputs_are_json_lines(edgerun, model, picture):
    code, out, _ = edgerun(model, "--input", picture, "--input", picture, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(lines) == 2
    assert lines[0]["top"] == lines[1]["top"]


def test_several_inputs_are_one_table(edgerun, model, picture):
    code, out, _ = edgerun(model, "--input", picture, "--input", picture)
    assert code == 0
    assert "2 inputs" in out
    assert "exits 1: 0, 2: 2" in out


def test_random_must_be_asked_for(edgerun, model):
    code, out, err = edgerun(model)
    assert code == 2
    assert out == ""
    assert "--input" in err
    assert "--random" in err


def test_random_is_marked_and_repeats(edgerun, model):
    first, second = (edgerun(model, "--random", "--seed", 4, "--json") for _ in range(2))
    assert first[0] == 0
    assert "random input" in first[2]
    assert json.loads(first[1])["outputs"] == json.loads(second[1])["outputs"]


def test_labels_file(edgerun, model, picture, tmp_path):
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n")
    answer = json.loads(edgerun(model, "--input", picture, "--labels", tmp_path / "labels.txt", "--json")[1])
    assert {t["label"] for t in answer["top"]} == {"one", "two", "three"}


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfone\ntwo\nthree", b"one\r\ntwo\r\nthree\n\n \n", b'["one", "two", "three"]'],
                         ids=["byte order mark", "blank lines at the end", "JSON"])
def test_labels_are_read_as_meant(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    assert common.read_labels(str(tmp_path / "labels.txt")) == ("one", "two", "three")


@pytest.mark.parametrize("content", ["", "\n\n", '{"0": "one"}', "[]", '[["one"]]', "[one"])
def test_labels_that_name_nothing_are_refused(tmp_path, content):
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(DataError, match=r"labels\.txt: expected .*found"):
        common.read_labels(str(tmp_path / "labels.txt"))


@pytest.fixture
def batch(tmp_path):
    """Three tensors in one file."""
    path = tmp_path / "batch.npy"
    np.save(path, np.random.default_rng(3).standard_normal((3, 1, 4, 4)).astype(np.float32))
    return path


@pytest.mark.parametrize("policy", [[], ["--exit-policy", "confidence", "--thresholds", "0.5"]], ids=["whole", "by sample"])
def test_a_batch_has_an_answer_for_every_sample(edgerun, model, batch, exit_bytes, policy):
    import edgerun as library

    answer = json.loads(edgerun(model, "--input", batch, "--json", *policy)[1])
    options = {"exit_policy": "confidence", "thresholds": (0.5,)} if policy else {}
    with library.Session(exit_bytes, **options) as session:
        expected = [session.run(x[None]).top for x in np.load(batch)]
    found = [[(t["label"], t["probability"]) for t in s["top"]] for s in answer["samples"]]
    assert [[n for n, _ in s] for s in found] == [[n for n, _ in s] for s in expected]
    np.testing.assert_allclose([[p for _, p in s] for s in found], [[p for _, p in s] for s in expected], rtol=1e-5)
    assert answer["samples"][0]["top"] == answer["top"]


@pytest.mark.parametrize("policy", [[], ["--exit-policy", "confidence", "--thresholds", "0.5"]], ids=["whole", "by sample"])
def test_a_batchs_table_counts_the_samples(edgerun, model, batch, policy):
    answer = json.loads(edgerun(model, "--input", batch, "--json", *policy)[1])
    code, out, _ = edgerun(model, "--input", batch, *policy)
    rows = {line[:13].strip(): line[13:] for line in out.splitlines() if line.startswith("sample")}
    assert code == 0
    assert list(rows) == [f"sample {k} of 3" for k in (1, 2, 3)]
    assert [row.split()[0] for row in rows.values()] == [s["top"][0]["label"] for s in answer["samples"]]
    assert all(("exit" in row) == bool(policy) for row in rows.values())


def test_a_batch_among_inputs_says_whose_answer_is_shown(edgerun, model, batch, picture, monkeypatch):
    monkeypatch.chdir(batch.parent)  # short names: a long path is folded into lines that begin elsewhere
    _, out, _ = edgerun(model, "--input", batch.name, "--input", "picture.png")
    assert [("(1 of 3)" in line) for line in out.splitlines() if line.startswith(("batch", "picture"))] == [True, False]


def test_adaptive_state_that_cannot_be_saved(tmp_path):
    with pytest.raises(OptionError, match=r"--adaptive-state .*expected a file that can be written"):
        run._save_state(str(tmp_path / "none" / "state.json"), {})


def test_adaptive_state_starts_empty_and_is_read_back(tmp_path):
    path = str(tmp_path / "state.json")
    assert run._read_state(path) is None
    run._save_state(path, {"version": 1})
    assert run._read_state(path) == {"version": 1}


def test_top_limits_the_list(edgerun, model, picture):
    assert len(json.loads(edgerun(model, "--input", picture, "--top", 1, "--json")[1])["top"]) == 1


def test_outputs_can_be_saved(edgerun, model, picture, tmp_path):
    code, out, _ = edgerun(model, "--input", picture, "--json", "--save-outputs", tmp_path / "out.npz")
    saved = np.load(tmp_path / "out.npz")
    assert code == 0
    assert sorted(saved.files) == ["exit1", "final"]
    np.testing.assert_array_equal(saved["final"], np.array(json.loads(out)["outputs"]["final"]["data"], np.float32))


def test_standard_input(model, picture):
    with open(picture, "rb") as f:
        done = subprocess.run([sys.executable, "-m", "edgerun_tools", model, "--input", "-", "--json"], stdin=f,
                              capture_output=True, check=True)
    assert json.loads(done.stdout)["input"] == "standard input"


@pytest.mark.parametrize("shape", ["image=1x1x4x4", "image=1,1,4,4", "image:1x1x4x4"])
def test_shapes_are_spelled_as_elsewhere(edgerun, model, shape):
    assert edgerun(model, "--random", "--shape", shape, "--json")[0] == 0


def test_a_fault_gives_exit_code_5(edgerun, model, picture, monkeypatch):
    import edgerun as library

    run = library.Session.run

    def struck(self, feeds):
        step = next(k for k, s in enumerate(self.plan.steps) if s.checks)
        self.arm_fault(step, 0, 1 << 30)
        return run(self, feeds)

    monkeypatch.setattr(library.Session, "run", struck)
    code, out, _ = edgerun(model, "--input", picture, "--json")
    findings = json.loads(out)["checks"]["findings"]
    assert code == 5
    assert len(findings) == 1
    assert {"step", "node", "op", "check", "expected", "got"} <= set(findings[0])


def faulty(monkeypatch, runs: int) -> None:
    """Every session has a fault in its first checked step, which strikes so often."""
    import edgerun as library

    opened = library.Session.__init__

    def struck(self, *args, **kwargs):
        opened(self, *args, **kwargs)
        self.inject(library.Fault("result", next(k for k, s in enumerate(self.plan.steps) if s.checks), 0, 1 << 30, runs=runs))

    monkeypatch.setattr(library.Session, "__init__", struck)


def test_a_cured_fault_gives_exit_code_0_and_is_told(edgerun, model, picture, monkeypatch, tmp_path):
    faulty(monkeypatch, 1)
    log = tmp_path / "log"
    code, out, _ = edgerun(model, "--input", picture, "--json", "--warmup", "0", "--on-fault", "retry", "--fault-log", str(log))
    (finding,) = json.loads(out)["checks"]["findings"]
    assert code == 0 and finding["action"] in ("corrected", "rerun") and finding["permanent"] is False
    (line,) = log.read_text().splitlines()
    assert finding.items() <= json.loads(line).items()


def test_the_table_says_that_a_fault_was_cured(edgerun, model, picture, monkeypatch):
    faulty(monkeypatch, 1)
    code, out, _ = edgerun(model, "--input", picture, "--warmup", "0", "--on-fault", "retry")
    assert code == 0 and "1 finding, cured" in out


def test_a_fault_that_stays_gives_exit_code_5(edgerun, model, picture, monkeypatch):
    faulty(monkeypatch, 100)
    code, out, _ = edgerun(model, "--input", picture, "--json", "--on-fault", "retry")
    assert code == 5 and any(f["permanent"] for f in json.loads(out)["checks"]["findings"])


def test_abort_gives_no_answer(edgerun, model, picture, monkeypatch):
    faulty(monkeypatch, 100)
    code, out, err = edgerun(model, "--input", picture, "--json", "--on-fault", "abort")
    assert (code, out) == (5, "") and "on_fault='retry'" in err


# -- errors: one line on stderr, nothing on stdout, the documented exit code ------------------------------------------

@pytest.fixture
def bad(tmp_path, model):
    """Words after `edgerun` for each way to go wrong."""
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "shape.npy", np.zeros((1, 1, 5, 5), np.float32))
    np.save(tmp_path / "dtype.npy", np.zeros((1, 1, 4, 4), np.float64))
    np.save(tmp_path / "nan.npy", np.full((1, 1, 4, 4), np.nan, np.float32))
    np.savez(tmp_path / "labelled.npz", x=np.zeros((200, 4, 4), np.uint8), y=np.zeros(200, np.int64))
    names = ("labelled.npz", "text.onnx", "broken.png", "empty", "shape.npy", "dtype.npy", "nan.npy")
    files = {name.partition(".")[0]: str(tmp_path / name) for name in names}
    return {
        "missing model": [str(tmp_path / "gone.onnx"), "--random"],
        "not onnx": [files["text"], "--random"],
        "missing input": [model, "--input", str(tmp_path / "gone.png")],
        "unreadable image": [model, "--input", files["broken"]],
        "empty folder": [model, "--input", files["empty"]],
        "wrong shape": [model, "--input", files["shape"]],
        "wrong dtype": [model, "--input", files["dtype"]],
        "not finite": [model, "--input", files["nan"]],
        "dart uncalibrated": [model, "--random", "--exit-policy", "dart"],
        "unknown policy": [model, "--random", "--exit-policy", "luck"],
        "unknown checks": [model, "--random", "--checks", "some"],
        "unknown reaction": [model, "--random", "--on-fault", "panic"],
        "log that cannot be": [model, "--random", "--fault-log", str(tmp_path / "gone" / "log")],
        "bad shape option": [model, "--random", "--shape", "1x2"],
        "bad thresholds": [model, "--random", "--exit-policy", "confidence", "--thresholds", "a,b"],
        "unknown option": [model, "--random", "--frobnicate"],
        "no model": ["inspect"],
        "negative seed": [model, "--random", "--seed", "-1"],
        "negative seed of bench": ["bench", model, "--seed", "-1"],
        "negative seed of eval": ["eval", model, "--data", "x", "--seed", "-1"],
        "negative seed of calibrate": ["calibrate", model, "--data", "x", "--seed", "-1"],
        "checks of bench": ["bench", model, "--checks", "foo"],
        "not finite in bench": ["bench", model, "--input", files["nan"]],
        "long name of a data set": ["eval", model, "--data", "x" * 300],
        "calibrating a long name": ["calibrate", "x" * 300, "--data", files["labelled"]],
        "unknown peer": ["bench", model, "--against", "abacus"],
    }


@pytest.mark.parametrize(("case", "code", "says"), [
    ("missing model", 3, "gone.onnx"), ("not onnx", 3, "ONNX"), ("missing input", 4, "gone.png"),
    ("unreadable image", 4, "broken.png"), ("empty folder", 4, "empty"), ("wrong shape", 4, "[1, 1, 5, 5]"),
    ("wrong dtype", 4, "float64"), ("not finite", 4, "nan.npy"), ("dart uncalibrated", 2, "edgerun calibrate"),
    ("unknown policy", 2, "luck"), ("unknown checks", 2, "some"), ("bad shape option", 2, "NAME=1x3x224x224"),
    ("bad thresholds", 2, "a,b"), ("unknown option", 2, "frobnicate"), ("unknown peer", 2, "abacus"),
    ("no model", 2, "MODEL"), ("negative seed", 2, "--seed"), ("negative seed of bench", 2, "--seed"),
    ("negative seed of eval", 2, "--seed"), ("negative seed of calibrate", 2, "--seed"), ("checks of bench", 2, "off or both"),
    ("not finite in bench", 4, "nan.npy"), ("long name of a data set", 4, "name too long"),
    ("calibrating a long name", 3, "name too long"),
])
def test_bad_input_ends_in_one_line(edgerun, bad, case, code, says):
    found, out, err = edgerun(*bad[case])
    assert (found, out) == (code, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_debug_shows_the_traceback(edgerun, bad):
    with pytest.raises(Exception, match=r"gone\.onnx"):
        cli.main([*bad["missing model"], "--debug"])


def test_interruption_is_not_a_crash(edgerun, monkeypatch, model):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgerun_tools.run.read_samples", stop)
    code, _, err = edgerun(model, "--input", "x.png")
    assert code == 130
    assert "interrupted" in err


@pytest.mark.parametrize("module", ["edgerun_tools.info", "edgerun_tools.run"])
def test_interruption_while_loading_is_not_a_crash(edgerun, monkeypatch, module):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", stop)
    code, out, err = edgerun(module.rpartition(".")[2])
    assert (code, out, err) == (130, "", "interrupted\n")


def test_the_command_can_be_interrupted_before_the_libraries_are_there():
    code = "import sys, edgerun_tools.cli; sys.exit(any(m in sys.modules for m in ('edgerun', 'numpy', 'onnx', 'typer', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["info"], ["info", "--json"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_no_defect(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "edgerun_tools", *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_defects_are_named_as_such(edgerun, monkeypatch, model):
    def fail(*_, **__):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("edgerun_tools.run.read_samples", fail)
    code, _, err = edgerun(model, "--input", "x.png")
    assert code == 1
    assert "internal error" in err
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_help_teaches_with_examples(edgerun, command):
    code, out, _ = edgerun(command, "--help")
    assert code == 0
    assert f"edgerun {'model' if command == 'run' else command}" in out


def test_top_help_lists_the_commands(edgerun):
    code, out, _ = edgerun("--help")
    assert code == 0
    assert all(f" {c} " in out for c in cli.COMMANDS)


def test_version(edgerun):
    import edgerun as library

    assert edgerun("--version")[:2] == (0, f"edgerun {library.__version__}\n")


def test_info_json(edgerun):
    code, out, _ = edgerun("info", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["schema"] == "edgerun.info/1"
    assert facts["kernels"]["python"] > 0
    assert facts["executor"] in ("engine", "python")
    assert facts["threads_by_default"] >= 1


def test_info_table(edgerun):
    code, out, _ = edgerun("info")
    assert code == 0
    assert "executor" in out
    assert "instruction set" in out
