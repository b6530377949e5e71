"""Every ONNX node test listed in nodes.txt goes through generated C; node_cases.py rewrites the list."""

from __future__ import annotations

from pathlib import Path

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
