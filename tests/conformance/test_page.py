"""docs/conformance.md says what native.txt and other.txt say, without running the cases again."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from edgerun_tools import conformance
from edgerun_tools.conformance_page import STATUSES, page

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
NATIVE = (HERE / "native.txt").read_text(encoding="utf-8").split()
OTHER = [line.split("\t") for line in (HERE / "other.txt").read_text(encoding="utf-8").splitlines()]


def numbers(row: str) -> list[int]:
    """all, native, fallback, failing of the row that begins so."""
    found = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert found, f"no row {row!r}"
    return [int(cell or 0) for cell in found[1].replace(" ", "").split("|")]


def by_operator() -> dict[str, Counter[str]]:
    table = PAGE.split("## By operator")[1].split("## Failing")[0]
    rows = re.findall(r"^\| (\w+) \|(?: (\d+) \|)(?: (\d*) \|)(?: (\d*) \|)(?: (\d*) \|)$", table, re.MULTILINE)
    return {op: Counter({s: int(n or 0) for s, n in zip(STATUSES, cells, strict=True)}) for op, _, *cells in rows}


def test_totals() -> None:
    every, native, fallback, failing = numbers("all")
    assert every == native + fallback + failing
    assert native == len(NATIVE)
    assert [fallback, failing] >= [sum(o[1] == s for o in OTHER) for s in STATUSES[1:]]


def test_cases_of_implemented_operators() -> None:
    every, native, fallback, failing = numbers("of implemented operators only")
    assert every == native + fallback + failing
    assert Counter(o[1] for o in OTHER) == +Counter(fallback=fallback, failing=failing)


def test_operators_add_up_to_the_totals() -> None:
    total = sum(by_operator().values(), Counter())
    assert [total[s] for s in STATUSES] == numbers("all")[1:]


def test_every_operator_has_its_native_cases() -> None:
    cases = conformance.cases()
    if not set(NATIVE) <= set(cases):
        pytest.skip("this version of onnx has other cases")
    counted = Counter(cases[n].operator for n in NATIVE)
    assert {op: c["native"] for op, c in by_operator().items() if c["native"]} == dict(counted)


def test_failing_cases_are_listed() -> None:
    listed = re.findall(r"^- `(\w+)` \(\w*\): \S", PAGE.split("## Failing")[1].split("## Why")[0], re.MULTILINE)
    assert len(listed) == numbers("all")[3]
    assert {o[0] for o in OTHER if o[1] == "failing"} <= set(listed)


def test_a_case_counts_as_its_worst_executor() -> None:
    def outcome(case: str, executor: str, status: conformance.Status, reason: str = "") -> conformance.Outcome:
        return conformance.Outcome(case, "Op", executor, status, reason=reason)

    made = page([outcome("a", "python", "fallback", "'x' has no kernel"), outcome("a", "engine", "native"),
                 outcome("b", "engine", "failing", "values differ"), outcome("b", "python", "native"),
                 outcome("c", "engine", "native")], {"a", "c"}, "1")
    for line in ("| all | 3 | 1 | 1 | 1 |", "| of implemented operators only | 2 | 1 | 1 |  |", "- `b` (Op): values differ",
                 "| Op | 1: has no kernel |"):
        assert line in made.splitlines()
