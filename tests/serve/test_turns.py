"""The server's event loop: a few sockets a turn, each in its time, and gRPC's every time."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from edgerun.serve import turns
from edgerun.serve.turns import FairSelector


@pytest.fixture
def pairs():
    with ExitStack() as stack:
        found = [socket.socketpair() for _ in range(20)]
        for pair in found:
            for end in pair:
                stack.callback(end.close)
        yield found


def test_sockets_that_are_always_ready_get_as_many_turns_as_others(pairs):
    with FairSelector(3) as selector:
        for near, far in pairs:
            selector.register(near, turns.selectors.EVENT_READ)
            far.send(b"x")
        chosen = Counter(key.fd for _ in range(400) for key, _ in selector.select(0))
    assert len(chosen) == 20 and set(chosen.values()) == {60}


def test_one_that_comes_late_is_next(pairs):
    with FairSelector(3) as selector:
        for near, far in pairs:
            selector.register(near, turns.selectors.EVENT_READ)
            far.send(b"x") if near is not pairs[7][0] else None
        for _ in range(20):
            selector.select(0)
        pairs[7][1].send(b"x")
        assert pairs[7][0].fileno() in [key.fd for key, _ in selector.select(0)]


def test_what_is_urgent_is_there_every_turn_until_it_is_taken_away(pairs):
    with FairSelector(3) as selector:
        for near, far in pairs:
            selector.urgent = near is pairs[12][0]
            selector.register(near, turns.selectors.EVENT_READ)
            far.send(b"x")
        urgent = pairs[12][0]
        for _ in range(10):
            found = [key.fd for key, _ in selector.select(0)]
            assert len(found) == 4 and found[0] == urgent.fileno()
        selector.unregister(urgent)
        assert urgent.fileno() not in [key.fd for _ in range(10) for key, _ in selector.select(0)]
        selector.urgent = False
        selector.register(urgent, turns.selectors.EVENT_READ)  # the same number again, of another kind
        assert Counter(key.fd for _ in range(40) for key, _ in selector.select(0))[urgent.fileno()] < 10


def test_few_are_all_there(pairs):
    with FairSelector() as selector:
        for near, far in pairs[:8]:
            selector.register(near, turns.selectors.EVENT_READ)
            far.send(b"x")
        assert len(selector.select(0)) == 8
        assert selector.select(0) != []


def test_urgent_on_another_loop_changes_nothing():
    async def run() -> str:
        with turns.urgent():
            return "ran"

    assert asyncio.run(run()) == "ran"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 chooses its own loop")
def test_what_is_urgent_waits_for_a_turn_and_not_for_all(pairs):
    """Nineteen sockets that always have work of 2 ms, and one that is urgent: it is read within a turn or two."""
    late: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        (near, far), *others = pairs
        sent = [0.0]

        def read() -> None:
            near.recv(1)
            late.append(time.perf_counter() - sent[0])

        with turns.urgent():
            loop.add_reader(near, read)
        for busy, other in others:
            other.send(b"x")
            loop.add_reader(busy, time.sleep, 0.002)
        for _ in range(20):
            await asyncio.sleep(0.003)
            sent[0] = time.perf_counter()
            far.send(b"x")
        await asyncio.sleep(0.05)
        for each, _ in pairs:
            loop.remove_reader(each)

    turns.run(run())
    assert len(late) == 20 and sorted(late)[10] < 0.03 < 19 * 0.002


def test_the_result_and_what_is_raised_come_through():
    async def fails() -> None:
        raise KeyError(3)

    assert turns.run(asyncio.sleep(0, 7)) == 7
    with pytest.raises(KeyError):
        turns.run(fails())
