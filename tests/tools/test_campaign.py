"""`edgerun campaign` from end to end: a real model, real faults, real kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgerun.executors import engine
from edgerun_tools import cli
from edgerun_tools.faults import setting, store
from edgerun_tools.faults.places import SITES
from edgerun_tools.faults.trial import CLASSES

pytest.importorskip("scipy")
pytestmark = [
    pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="trials run in forks"),
]
ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/zoo/mnist_alexnet/model.onnx"
SMALL = ["--margin", "0.45", "--least", "1", "--inputs", "5", "--later", "2", "--cost", "0"]
"""A handful of faults at every site of every step."""
ASKED = ["--checks", "maed,full", "--worst", "2"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """The sample digits as a data set: a folder a class."""
    folder = tmp_path_factory.mktemp("digits")
    for k in range(10):
        (folder / str(k)).mkdir()
        shutil.copy(ROOT / f"models/samples/digit_{k}.png", folder / str(k))
    return folder


def words(digits: Path, out: Path, *more: str) -> list[str]:
    return ["campaign", str(MODEL), "--data", str(digits), "--out", str(out), *SMALL, *more]


@pytest.fixture(scope="module")
def finished(digits, tmp_path_factory) -> Path:
    """A campaign over all sites under three presets, on one process."""
    out = tmp_path_factory.mktemp("campaign") / "out"
    assert cli.main(words(digits, out, *ASKED, "--cost", "0.2", "--jobs", "1", "--json")) == 0
    return out


def results(out: Path) -> bytes:
    return (out / store.NAME).read_bytes()


def test_every_fault_has_one_class_under_every_preset(finished):
    header, rows = store.read(finished)
    assert len(rows) == header["faults"] > 100
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert all(list(row["out"]) == ["full", "maed", "off"] for row in rows)
    assert {o["outcome"] for row in rows for o in row["out"].values()} <= set(CLASSES)
    assert not any("exit 70" in o.get("error", "") for row in rows for o in row["out"].values())


def test_all_sites_and_steps_were_struck(finished):
    header, rows = store.read(finished)
    assert {(p["site"], p["step"]) for p in header["places"]} == {(row["site"], row["step"]) for row in rows if row["model"] != "worst"}
    assert set(SITES) - {"rescaled", "constants"} <= {p["site"] for p in header["places"]} <= set(SITES)
    assert sum(row["model"] == "worst" for row in rows) == 2


def test_without_checks_nothing_is_detected_and_with_them_something_is(finished):
    presets = json.loads((finished / "report.json").read_text())["presets"]
    seen = {n: p["classes"]["detected"] + p["classes"]["corrected"] for n, p in presets.items()}
    assert seen["off"] == 0 < seen["maed"] < seen["full"]
    assert presets["off"]["classes"]["sdc_critical"] > presets["full"]["classes"]["sdc_critical"]
    assert presets["full"]["coverage"]["critical"]["rate"] > presets["off"]["coverage"]["critical"]["rate"] == 0
    assert presets["full"]["recovery"]["transient"]["hits"] > 10
    assert {n: p["false_alarms"]["hits"] for n, p in presets.items()} == dict.fromkeys(presets, 0)
    assert presets["full"]["false_alarms"]["trials"] >= len(store.read(finished)[1]) // 10


def test_what_sits_in_memory_is_found_in_the_end(finished):
    """By a checksum in the run, by the share of memory that every run verifies, or when all of it is."""
    harmful = [row for row in store.read(finished)[1] if row["site"] == "weights" and row["out"]["off"]["outcome"] != "masked"]
    assert harmful
    assert {row["out"]["full"]["outcome"] for row in harmful} <= {"corrected", "detected", "detected_late"}


def test_the_page_is_whole_and_needs_nothing_else(finished):
    page = (finished / "report.html").read_text()
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", page)
    assert "name=\"viewport\"" in page
    for part in ("Coverage", "critical SDC", "Where it hurts", "What it costs", "What is not covered", "edgerun campaign"):
        assert part in page
    assert "$" not in page
    assert page.count("<tr>") > 50


@pytest.mark.slow
def test_the_command_in_the_header_asks_for_the_same_campaign(finished, tmp_path):
    """A finished campaign is only gone on with by its own command: anything else is refused."""
    command = store.read(finished)[0]["command"].split()
    assert command[:2] == ["edgerun", "campaign"]
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    assert cli.main([*(str(out) if w == "DIR" else w for w in command[1:]), "--cost", "0", "--resume", "--json"]) == 0
    assert results(out) == results(finished)


def test_killed_in_the_middle_and_gone_on_with(finished, digits, tmp_path):
    out = tmp_path / "killed"
    command = words(digits, out, *ASKED, "--json")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running = subprocess.Popen([sys.executable, "-m", "edgerun_tools", *command, "--jobs", "2"], env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while time.monotonic() < until and running.poll() is None:
        if (out / store.NAME).exists() and results(out).count(b"\n") > 20:
            break
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    there = results(out)
    assert 20 < there.count(b"\n") < results(finished).count(b"\n")
    assert cli.main(command) == 2  # not without being asked
    assert cli.main([*command, "--resume"]) == 0
    assert results(out) == results(finished)


def test_going_on_with_another_campaign_is_refused(finished, digits, capsys):
    assert cli.main(words(digits, finished, *ASKED, "--seed", "9", "--resume")) == 4
    assert "found another" in capsys.readouterr().err


def test_drawing_on_until_enough_faults_had_an_effect(digits, tmp_path):
    more = ["--checks", "standard", "--sites", "accumulator", "--non-masked", "14", "--json"]
    assert cli.main(words(digits, tmp_path / "out", *more)) == 0
    header, rows = store.read(tmp_path / "out")
    assert len(rows) > header["faults"]
    assert sum(row["out"]["off"]["outcome"] != "masked" for row in rows) >= 14
    assert len({(r["step"], r["index"], r["mask"], r["mode"], r["input"]) for r in rows}) == len(rows)


def test_presets_without_a_kind_are_measured_beside_the_whole(digits, tmp_path):
    more = ["--checks", "standard,standard-abft,maed+abft", "--sites", "accumulator", "--on-fault", "flag", "--json"]
    assert cli.main(words(digits, tmp_path / "out", *more)) == 0
    _, rows = store.read(tmp_path / "out")
    fired = {name: {row["out"][name].get("check", "") for row in rows} for name in rows[0]["out"]}
    assert "abft" in fired["standard"] and "abft" in fired["maed+abft"] and "abft" not in fired["standard-abft"]


@pytest.mark.parametrize(("more", "code", "said"), [
    (["--sites", "rom"], 2, "--sites: expected all, or some of result"),
    (["--models", "burst"], 2, "--models: expected all, or some of bit"),
    (["--checks", "best"], 2, "expected"),
    (["--checks", "maed-abft"], 2, "after -, each once; found abft"),
    (["--on-fault", "shout"], 2, "on_fault: expected"),
    (["--margin", "0"], 2, "margin: expected a number between 0 and 1"),
    (["--inputs", "11"], 4, "expected 11 inputs"),
    (["--resume"], 2, "--resume: expected the results of an interrupted campaign"),
    (["--scheduler", "nowhere"], 2, "--scheduler nowhere"),
])
def test_wrong_words(digits, tmp_path, capsys, more, code, said):
    assert cli.main(words(digits, tmp_path / "out", "--inputs", "5", *more)) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_presets_by_name():
    found = setting.presets("full,full-abft-flow,maed+abft,maed-paper,maed-maed")
    assert found == {"off": "off", "full": "full", "full-abft-flow": "maed,range,weights,buffers,duplicate", "maed+abft": "maed,abft",
                     "maed-paper": "maed-paper", "maed-maed": "off"}
