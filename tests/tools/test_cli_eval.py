"""`edgerun eval` as a person or a script meets it, on a model that was not calibrated."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgerun_tools import cli


@pytest.fixture
def words(tmp_path, exit_bytes):
    """`eval`, a model with exits and labelled images."""
    (tmp_path / "model.onnx").write_bytes(exit_bytes)
    rng = np.random.default_rng(6)
    np.savez(tmp_path / "test.npz", x=rng.integers(0, 256, (8, 4, 4), np.uint8), y=np.arange(8) % 3)
    return ["eval", str(tmp_path / "model.onnx"), "--data", str(tmp_path / "test.npz"), "--threads", "1"]


def test_without_calibration_dart_is_left_out_and_named(words, capsys):
    code = cli.main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0
    assert list(json.loads(out)["policies"]) == ["static", "none", "confidence", "entropy"]
    assert "without policy dart" in err


def test_dart_that_was_asked_for_is_missed(words, capsys):
    assert cli.main([*words, "--policies", "none,dart"]) == 2
    assert "edgerun calibrate" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_no_plot_without_calibration_and_said_before_the_work(words, capsys, monkeypatch, form):
    monkeypatch.setattr("edgerun_tools.evaluate.plots.require", lambda: None)
    monkeypatch.setattr("edgerun_tools.evaluate._run", lambda *_: pytest.fail("began to work"))
    assert cli.main([*words, "--plot", "never.png", *form]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--plot" in err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_findings_give_exit_code_5(words, capsys, monkeypatch, form):
    import edgerun as library

    run = library.Session.run

    def struck(self, feeds):
        self.arm_fault(next(k for k, s in enumerate(self.plan.steps) if s.checks), 0, 1 << 30)
        return run(self, feeds)

    monkeypatch.setattr(library.Session, "run", struck)
    assert cli.main([*words, "--policies", "none", *form]) == 5
    assert capsys.readouterr().out
