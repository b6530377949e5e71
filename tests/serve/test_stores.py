"""What a store said it accepted it never accepts again: after kill -9, from another process, and while two ask at once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgerun.errors import OptionError, StoreError
from edgerun.serve.stores import open_keys, open_replay, open_ring
from edgerun.splits.keys import DeviceKey
from edgerun.splits.replay import MAX_SEQ, SIZE, Verdict, Window
from edgerun.splits.ring import Entry, KeyRefused

KEY = "0" * 16
PROCESS = str(Path(__file__).parent / "store_process.py")


@pytest.fixture(params=["sqlite", "sqlite, power-safe", "redis"])
def store(request, tmp_path):
    """A function that opens the same store again."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda: open_replay(url)
    return lambda: open_replay(tmp_path / "replay.db", power_safe="power" in request.param)


@pytest.fixture(params=["sqlite", "redis"])
def where(request, tmp_path):
    return request.getfixturevalue("redis_url") if request.param == "redis" else str(tmp_path / "replay.db")


async def _verdicts(store, said):
    try:
        return [await store.accept("cam-1", KEY, *one) for one in said]
    finally:
        await store.close()


def _steps(seed: int, count: int = 400) -> list[tuple[int, int]]:
    rng, top, epoch, said = random.Random(seed), 2**32 - 700 if seed % 2 else 5, 1, []
    for _ in range(count):
        if rng.random() < 0.03:
            top += rng.choice([SIZE - 1, SIZE, SIZE + 1, 2**32, 2**53 + 1])
        if rng.random() < 0.01:
            epoch += 1
        seq = min(max(top + rng.choice([1, 1, 1, 0, -1, -7, -300, 1 - SIZE, -SIZE, -SIZE - 1]), 0), MAX_SEQ)
        top = max(top, seq)
        said.append((max(epoch - (rng.random() < 0.02), 0), seq))
    return said


@pytest.mark.parametrize("seed", range(4))
def test_a_store_says_what_a_window_says(store, seed):
    window, said = Window(), _steps(seed)
    assert asyncio.run(_verdicts(store(), said)) == [window.accept(*one) for one in said]


@pytest.mark.parametrize("first", [(1, MAX_SEQ), (2**32 - 1, 0), (1, 2**53), (1, 2**53 + 1), (1, 2**63), (1, 2**32 - 1)])
def test_large_numbers_are_exact(store, first):
    epoch, seq = first
    said = [first, first, *[(epoch, s) for s in (seq - 1, seq + 1, seq - 1, seq - SIZE, seq - SIZE + 1) if 0 <= s <= MAX_SEQ]]
    window = Window()
    assert asyncio.run(_verdicts(store(), said)) == [window.accept(*one) for one in said]


def test_keys_and_devices_have_windows_of_their_own(store):
    async def ask():
        opened = store()
        try:
            return [await opened.accept(d, k, 1, 1) for d, k in (("a", KEY), ("b", KEY), ("a", "1" * 16), ("a", KEY))]
        finally:
            await opened.close()

    assert asyncio.run(ask()) == [Verdict.FRESH] * 3 + [Verdict.REPLAYED]


def test_a_store_remembers_when_it_is_opened_again(store):
    assert asyncio.run(_verdicts(store(), [(1, 1), (1, 5)])) == [Verdict.FRESH] * 2
    assert asyncio.run(_verdicts(store(), [(1, 1), (1, 5), (1, 3)])) == [Verdict.REPLAYED] * 2 + [Verdict.FRESH]


def test_of_many_who_ask_at_once_one_wins(store):
    async def ask():
        opened = [store() for _ in range(4)]
        try:
            return await asyncio.gather(*(s.accept("cam-1", KEY, 1, seq) for seq in range(50) for s in opened))
        finally:
            await asyncio.gather(*(s.close() for s in opened))

    found = asyncio.run(ask())
    assert [found[i : i + 4].count(Verdict.FRESH) for i in range(0, 200, 4)] == [1] * 50


def _start(where: str, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, PROCESS, where, str(first)], stdout=subprocess.PIPE, text=True,
                            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def _fresh(text: str) -> set[int]:
    return {int(line.split()[0]) for line in text.splitlines(keepends=True) if line.endswith("fresh\n")}


@pytest.mark.parametrize("lines", [1, 40, 300])
def test_what_was_said_survives_kill_9(where, lines):
    """The process that said so is killed; the next one refuses all of it."""
    run = _start(where, 0)
    assert run.stdout is not None
    text = "".join(run.stdout.readline() for _ in range(lines))
    run.send_signal(signal.SIGKILL)
    text += run.stdout.read()
    run.stdout.close()
    run.wait()
    said = _fresh(text)
    assert len(said) >= lines
    assert asyncio.run(_verdicts(open_replay(where), [(1, s) for s in sorted(said)[-SIZE:]])).count(Verdict.FRESH) == 0


def test_of_two_processes_one_wins_each_number(where):
    runs = [_start(where, 0), _start(where, 0)]
    texts = []
    for run in runs:
        assert run.stdout is not None
        for _ in range(100):
            texts.append((run, run.stdout.readline()))
    for run in runs:
        run.kill()
        assert run.stdout is not None
        texts.append((run, run.stdout.read()))
        run.stdout.close()
        run.wait()
    first, second = (_fresh("".join(t for r, t in texts if r is run)) for run in runs)
    assert first | second >= set(range(50)) and not first & second


@pytest.mark.parametrize("content", [b"not a database, but long enough for one" * 40, None], ids=["noise", "a folder"])
def test_a_file_that_is_no_store_is_refused(tmp_path, content):
    path = tmp_path / "replay.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(OptionError, match="replay store"):
        open_replay(path)
    assert content is None or path.read_bytes() == content


def test_a_store_of_a_later_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "replay.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(OptionError, match="version"):
        open_replay(tmp_path / "replay.db")


def test_a_store_that_fails_says_no(tmp_path):
    """The table goes away under it; then it is closed."""
    async def ask():
        opened = open_replay(tmp_path / "replay.db")
        assert await opened.accept("cam-1", KEY, 1, 1) is Verdict.FRESH
        with sqlite3.connect(tmp_path / "replay.db") as db:
            db.execute("DROP TABLE window")
        db.close()
        with pytest.raises(StoreError):
            await opened.accept("cam-1", KEY, 1, 2)
        await opened.close()
        with pytest.raises(StoreError):
            await opened.accept("cam-1", KEY, 1, 3)

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [lambda: open_replay("unix:///nowhere/s").accept("cam-1", KEY, 1, 1),
                                 lambda: open_keys("unix:///nowhere/s").public("cam-1", KEY)], ids=["replay", "keys"])
def test_redis_that_is_away_says_no(ask):
    pytest.importorskip("redis", reason="needs the extra redis")

    async def run():
        with pytest.raises(StoreError):
            await ask()

    asyncio.run(run())


def test_redis_that_stops_and_dies(own_redis):
    """No answer: refused within seconds. kill -9 and a new start: what it said it knows, it knows."""
    async def ask():
        store, said = open_replay(own_redis.url), []

        async def accept(seq):
            began = time.monotonic()
            try:
                said.append((await store.accept("cam-1", KEY, 1, seq)).value)
            except StoreError:
                said.append("no")
            assert time.monotonic() - began < 8

        await accept(1)
        own_redis.run.send_signal(signal.SIGSTOP)
        await accept(2)
        own_redis.run.send_signal(signal.SIGCONT)
        await accept(3)
        own_redis.kill()
        await accept(4)
        own_redis.start()
        for seq in (1, 3, 4, 4):
            await accept(seq)
        await store.close()
        return said

    assert asyncio.run(ask()) == ["fresh", "no", "fresh", "no", "replayed", "replayed", "fresh", "replayed"]


def test_a_full_disk_says_no_and_forgets_nothing(tmp_path):
    """A process that may write files of 64 KiB only: it stops saying yes, and all it said holds afterwards."""
    where, limit = str(tmp_path / "replay.db"), 64 << 10
    code = (f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
            f"sys.argv = [{PROCESS!r}, {where!r}, '0']; runpy.run_path({PROCESS!r}, run_name='__main__')")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                         env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    said = sorted(_fresh(run.stdout))
    assert said and run.returncode == 1 and "StoreError" in run.stderr
    found = asyncio.run(_verdicts(open_replay(where), [(1, s) for s in said]))
    assert found.count(Verdict.REPLAYED) == len(said)


@pytest.fixture(params=["file", "redis"])
def ring_at(request, tmp_path):
    return request.getfixturevalue("redis_url") if request.param == "redis" else str(tmp_path / "ring.json")


def test_a_ring_is_changed_while_it_is_asked(ring_at):
    """Added, and revoked, by another; the one who has it open sees both at the next question."""
    key = DeviceKey.generate()
    ring = open_ring(ring_at, create=True)

    async def ask():
        keys = open_keys(ring_at)
        reasons = []
        for change in (None, {}, {"revoked": 5.0}, {"not_after": 5.0}, {"not_before": 4e9}, {}):
            if change is not None:
                ring.put(Entry("cam-1", key.public.hex(), **change))
            try:
                reasons.append(await keys.public("cam-1", key.id))
            except KeyRefused as e:
                reasons.append(e.reason)
        await keys.close()
        return reasons

    assert asyncio.run(ask()) == ["key_unknown", key.public, "key_revoked", "key_expired", "key_not_yet_valid", key.public]
    assert [e.device for e in ring.entries()] == ["cam-1"]
