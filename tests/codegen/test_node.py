"""Every ONNX node test listed in nodes.txt goes through generated C; node_cases.py rewrites the list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_cases import outcome

from edgerun_tools import conformance

NODES = (Path(__file__).parent / "nodes.txt").read_text(encoding="utf-8").split()


@pytest.fixture(scope="module")
def cases() -> dict[str, conformance.Case]:
    return conformance.cases()


@pytest.mark.parametrize("name", NODES)
def test_generated_c_agrees(cases, name, tmp_path):
    if name not in cases:
        pytest.skip("this version of onnx has no such case")
    assert outcome(cases[name], tmp_path) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", NODES)
def test_checks_raise_no_false_alarm(cases, name, tmp_path):
    """All of them together; `run` holds that there is no finding. Cases that make infinities or NaN are alarms by right."""
    if name not in cases:
        pytest.skip("this version of onnx has no such case")
    finite = all(np.isfinite(v).all() for v in (*cases[name].inputs, *cases[name].outputs) if v.dtype.kind == "f")
    if not finite:
        pytest.skip("values that are not finite")
    selftest = not name.startswith("test_batchnorm_e")  # whose random variances may be negative: an alarm by right
    assert outcome(cases[name], tmp_path, "full", selftest) == ""
