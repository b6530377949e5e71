"""`edgerun inject`: one fault, as a person or a script meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgerun.executors import engine
from edgerun_tools import cli

ROOT = Path(__file__).parents[2]
MODEL, DIGIT = str(ROOT / "models/zoo/mnist_alexnet/model.onnx"), str(ROOT / "models/samples/digit_3.png")
pytestmark = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


def told(capsys, *words: str) -> dict:
    assert cli.main(["inject", MODEL, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def place(capsys, site: str) -> dict:
    """The largest place of a site."""
    return max((p for p in told(capsys, "--list")["sites"] if p["site"] == site), key=lambda p: p["elements"])


def test_the_list_of_sites(capsys):
    sites = told(capsys, "--list")["sites"]
    assert {"result", "accumulator", "buffer", "weights", "skip"} <= {p["site"] for p in sites}
    assert all(p["faults"] == p["elements"] * max(1, p["bits"]) for p in sites)
    assert cli.main(["inject", MODEL, "--list"]) == 0
    assert "packed weights" in capsys.readouterr().out


def test_a_fault_that_a_checksum_sees(capsys):
    step = place(capsys, "accumulator")["step"]
    report = told(capsys, "--data", DIGIT, "--fault", f"site=accumulator,step={step},index=99,bit=30", "--checks", "standard")
    assert report["outcome"]["outcome"] in ("detected", "corrected")
    assert report["findings"][0]["step"] == step
    assert report["answer"]["clean"] == "3"


def test_the_same_fault_without_checks(capsys):
    step = place(capsys, "skip")["step"]
    report = told(capsys, "--data", DIGIT, "--fault", f"site=buffer,step={step},index=0,mask=0x7f800000", "--checks", "off")
    assert report["findings"] == []
    assert report["outcome"]["outcome"] in ("sdc_critical", "sdc_tolerable")
    assert any(c["differing"] for c in report["changed"])


def test_a_crash_is_a_result(capsys):
    """Enough of a convolution's parameters are addresses and strides that some bit ends the process."""
    params = place(capsys, "params")
    step = next(p["step"] for p in told(capsys, "--list")["sites"] if p["site"] == "params" and p["kernel"].startswith("conv2d"))
    ends = set()
    for index in range(0, 64, 8):
        ends.add(told(capsys, "--fault", f"site=params,step={step},index={index},bits=30+29", "--checks", "off")["outcome"].get("error"))
        if "SIGSEGV" in ends:
            break
    assert params["bits"] == 32
    assert "SIGSEGV" in ends


@pytest.mark.parametrize(("words", "said"), [
    ([], "expected --fault or --list; found neither"),
    (["--list", "--fault", "site=skip,step=0"], "found both"),
    (["--fault", "site=rom,step=0"], "expected site= one of result"),
    (["--fault", "site=skip"], "expected step=; found none"),
    (["--fault", "site=skip,step=99"], "expected step= one of 0, 1"),
    (["--fault", "site=skip,step=0,bit=3"], "has no bits; leave bit= out"),
    (["--fault", "site=buffer,step=0,index=1000000000,bit=1"], "expected index= 0 …"),
    (["--fault", "site=buffer,step=0,index=0"], "expected one of bit=, bits= and mask=; found none"),
    (["--fault", "site=buffer,step=0,bit=64"], "expected bits 0 … 31; found 64"),
    (["--fault", "site=buffer,step=0,bit=x"], "expected a whole number for bit=; found 'x'"),
    (["--fault", "site=buffer,step=0,bit=1,mode=toggle"], "expected mode= flip, set or clear"),
    (["--fault", "site=buffer;step=0"], "expected site"),
])
def test_wrong_words(capsys, words, said):
    assert cli.main(["inject", MODEL, *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
