"""The main job on the committed models: an image in, a checked and early-exiting answer out."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun_tools import cli

ROOT = Path(__file__).resolve().parents[2]
ZOO = sorted(p.parent.name for p in (ROOT / "models" / "zoo").glob("*/model.onnx"))
WITH_EXITS = [name for name in ZOO if name != "digits_mlp"]
DIGITS = sorted((ROOT / "models" / "samples").glob("digit_*.png"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXECUTORS = ["engine", "python"]


def path_of(name: str) -> Path:
    return ROOT / "models" / "zoo" / name / "model.onnx"


def open_session(name: str, executor: str = "auto", **options) -> edgerun.Session:
    if executor == "engine" and edgerun.build_info()["engine_error"]:
        pytest.skip("the C++ engine is not built")
    return edgerun.Session(path_of(name), executor=executor, **options)


def clean_inputs(session: edgerun.Session, count: int) -> list[np.ndarray]:
    """Natural pictures with changing brightness and noise, prepared as the model says."""
    rng = np.random.default_rng(11)
    picture = edgerun.read_image(ROOT / "models" / "samples" / "cat.png").astype(np.float64)
    out = []
    for _ in range(count):
        h, w = rng.integers(40, min(picture.shape[:2]), 2)
        y, x = rng.integers(0, picture.shape[0] - h + 1), rng.integers(0, picture.shape[1] - w + 1)
        crop = picture[y:y + h, x:x + w] * rng.uniform(0.3, 1.4) + rng.normal(0, rng.uniform(0, 20), (h, w, 1))
        out.append(session.preprocess.apply(crop.clip(0, 255).astype(np.uint8)))
    return out


# -- README -----------------------------------------------------------------------------------------------------------

def readme_commands() -> list[str]:
    blocks = re.findall(r"```\n(.*?)```", README, re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith((".venv", "python3 -m venv"))]


def test_the_first_command_prints_the_answer(capsys, monkeypatch):
    install, _, run = readme_commands()[0].rpartition(" && ")
    assert install == "python3 -m venv .venv && .venv/bin/pip install ."
    words = shlex.split(run)
    assert words[0] == ".venv/bin/edgerun"
    monkeypatch.chdir(ROOT)
    code = cli.main(words[1:])
    out = capsys.readouterr().out
    digit = re.search(r"digit_(\d)", run).group(1)
    assert code == 0
    assert re.search(rf"^answer\s+{digit}\b", out, re.M)
    assert all(re.search(rf"^{word}\s", out, re.M) for word in ("exit", "difficulty", "time", "checks"))


def test_the_second_command_tests():
    assert readme_commands()[1] == ".venv/bin/pip install '.[test]' && .venv/bin/python -m pytest tests"


@pytest.mark.parametrize("name", ["edgerun " + c for c in cli.COMMANDS if c != "run"])
def test_readme_names_every_command(name):
    assert name in README


# -- answers ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", WITH_EXITS)
def test_all_exits_are_onnxruntimes(name, executor):
    ort = pytest.importorskip("onnxruntime", reason="the oracle")
    session = open_session(name, executor)
    theirs = ort.InferenceSession(str(path_of(name)), providers=["CPUExecutionProvider"])
    x = clean_inputs(session, 1)[0]
    ours = session.run(x).outputs
    expected = theirs.run(None, {session.inputs[0].name: x})
    np.testing.assert_allclose(np.stack([ours[e] for e in session.exits]), np.stack(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("policy", ["confidence", "entropy", "dart"])
@pytest.mark.parametrize("name", WITH_EXITS)
def test_an_early_answer_is_that_exits_answer(name, policy):
    whole, early = open_session(name), open_session(name, exit_policy=policy)
    x = clean_inputs(whole, 1)[0]
    result, everything = early.run(x), whole.run(x)
    np.testing.assert_array_equal(result.scores, everything.outputs[result.exit.name])
    assert list(result.outputs) == list(whole.exits[: result.exit.index + 1])
    assert (result.macs < result.macs_total) == result.exit.early


@pytest.mark.parametrize("name", WITH_EXITS)
def test_difficulty_does_not_depend_on_company(name):
    session = open_session(name, exit_policy="dart")
    batch = np.concatenate(clean_inputs(session, 5))
    together = [s.difficulty for s in session.run(batch).samples]
    assert together == [session.run(x[None]).difficulty for x in batch]
    assert all(0 <= d <= 1 for d in together)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("image", DIGITS, ids=lambda p: p.stem)
def test_sample_digits_are_recognised_to_the_end(image, executor):
    session = open_session("mnist_alexnet", executor)
    result = session.run(session.preprocess.apply(edgerun.read_image(image)))
    assert result.top[0][0] == image.stem[-1]


@pytest.mark.parametrize("name", WITH_EXITS)
def test_json_on_the_command_line(name, capsys):
    code = cli.main([str(path_of(name)), "--input", str(DIGITS[3]), "--exit-policy", "dart", "--json"])
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert 0 <= answer["exit"]["index"] < answer["exit"]["of"]
    assert isinstance(answer["difficulty"], float)
    assert answer["checks"]["findings"] == []


# -- checks -----------------------------------------------------------------------------------------------------------

def activation_steps() -> list[tuple[str, str, int]]:
    """(executor, model, step) of every activation; the slow executor shows it on the small model."""
    found = []
    for name in ZOO:
        with edgerun.Session(path_of(name)) as session:
            steps = [k for k, s in enumerate(session.plan.steps) if s.checks and s.attrs.get("activation", (0,))[0]]
        served = EXECUTORS if name.startswith("mnist") else ["engine"]
        found += [(executor, name, k) for executor in served for k in steps]
    return found


@pytest.mark.parametrize(("executor", "name", "step"), activation_steps())
def test_a_flipped_bit_is_reported_with_its_step(name, step, executor):
    session = open_session(name, executor)
    x = clean_inputs(session, 1)[0]
    slot = session.plan.slots[session.plan.steps[step].outputs[0]]
    session.arm_fault(step, slot.elements // 3, 1 << 30)
    findings = session.run(x).checks.findings
    assert findings
    assert findings[0].step == step
    assert not session.run(x).checks.findings


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", ZOO)
def test_clean_runs_raise_no_alarm(name, executor):
    session = open_session(name, executor)
    reports = [session.run(x).checks for x in clean_inputs(session, 25 if executor == "engine" else 2)]
    assert all(r.run > 0 for r in reports)
    assert [f for r in reports for f in r.findings] == []
