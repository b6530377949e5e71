"""Every ONNX node test listed in native.txt passes with kernels of ours alone, on every executor.

`python -m edgerun_tools.conformance --write tests/conformance` regenerates native.txt and other.txt; a change of either
is a change of what edgerun can do, and belongs into the commit that made it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from edgerun.executors import engine
from edgerun_tools import conformance

HERE = Path(__file__).parent
NATIVE = (HERE / "native.txt").read_text(encoding="utf-8").split()
OTHER = [line.split("\t")[0] for line in (HERE / "other.txt").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def cases() -> dict[str, conformance.Case]:
    return conformance.cases()


@pytest.mark.parametrize("executor", ["python", "engine"])
@pytest.mark.parametrize("name", NATIVE)
def test_native(cases: dict[str, conformance.Case], name: str, executor: str) -> None:
    if executor == "engine" and not engine.available():
        pytest.skip("the C++ engine is not built")
    if name not in cases:
        pytest.skip("this version of onnx has no such case")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = conformance.run_case(cases[name], executor)
    assert (outcome.status, outcome.reason) == ("native", "")


def test_every_case_of_an_implemented_operator_is_accounted_for(cases: dict[str, conformance.Case]) -> None:
    known = {*NATIVE, *OTHER}
    assert sorted(n for n, c in cases.items() if conformance.covers(c) and n not in known) == []


def test_no_implemented_operator_is_without_a_native_case(cases: dict[str, conformance.Case]) -> None:
    tested = {c.operator for c in cases.values()}
    native = {cases[n].operator for n in NATIVE if n in cases}
    assert sorted((conformance.implemented() & tested) - native) == []
