"""Trials that crash, hang or spoil their process: results, and no harm to the others. Real forks, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from edgerun_tools.faults import isolate

SPOILED = []


def work(item: str) -> dict:
    """What the words say; "spoil" leaves the process unsound."""
    match item:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "leave":
            os._exit(3)
        case "defect":
            raise RuntimeError("a defect of the harness")
        case "spoil":
            SPOILED.append(1)
    return {"item": item, "seen": len(SPOILED)}


def run(*items: str) -> list[dict]:
    return isolate.run(items, isolate.forked(work, lambda: not SPOILED, 0.3), lambda item, how: {"item": item, "lost": how})


def test_results_come_in_order():
    assert run("a", "b", "c") == [{"item": i, "seen": 0} for i in "abc"]
    assert run() == []


@pytest.mark.parametrize(("item", "how"), [("crash", "SIGSEGV"), ("hang", "hang"), ("leave", "exit 3"), ("defect", "exit 70")])
def test_the_culprit_is_found_wherever_it_is(item, how):
    expected = [{"item": "a", "seen": 0}, {"item": item, "lost": how}, {"item": "b", "seen": 0}, {"item": item, "lost": how}]
    assert run("a", item, "b", item) == expected


def test_a_spoiled_process_does_not_reach_the_others():
    assert run("a", "spoil", "b") == [{"item": "a", "seen": 0}, {"item": "spoil", "seen": 1, "stained": True}, {"item": "b", "seen": 0}]


def test_large_results_arrive_whole():
    attempt = isolate.forked(lambda k: {"data": "x" * 300_000 * k}, lambda: True, 10)
    found = isolate.run([1, 2], attempt, lambda *_: {})
    assert [len(r["data"]) for r in found] == [300_000, 600_000]


def children() -> set[int]:
    """Children of this process, zombies too; other tests in it may have left some (a resource tracker)."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if (process / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(process.name))
    return found


def test_no_processes_are_left_behind():
    before = children()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert children() == before | {pid}  # what is not waited for is seen
    os.waitpid(pid, 0)
    run("a", "crash", "hang")
    assert children() <= before
