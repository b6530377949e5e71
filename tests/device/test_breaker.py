"""The circuit breaker, on a clock of the test's own."""

from __future__ import annotations

import pytest

from edgerun.device.breaker import Backoff, Breaker


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_it_opens_after_failures_in_a_row_only(clock):
    b = Breaker(failures=3, pause_s=1, clock=clock)
    for ok in (False, False, True, False, False):
        assert b.allow()
        b.ended(ok)
    assert not b.open
    assert b.allow()
    b.ended(False)
    assert b.open and not b.allow()


def test_one_call_tries_after_the_pause_and_closes_it(clock):
    b = Breaker(failures=1, pause_s=1, clock=clock)
    b.allow(), b.ended(False)
    clock.now = 1.0
    assert b.allow() and not b.allow()
    b.ended(True)
    assert b.allow() and b.allow() and not b.open


def test_pauses_double_up_to_a_bound(clock):
    b = Breaker(failures=1, pause_s=1, most_s=8, clock=clock)
    pauses = []
    b.allow(), b.ended(False)
    for _ in range(6):
        began = clock.now
        while not b.allow():
            clock.now += 0.01
        pauses.append(clock.now - began)
        b.ended(False)
    for pause, most in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True):
        assert most / 2 - 0.02 <= pause <= most + 0.02


def test_waits_grow_and_are_bounded():
    backoff = Backoff(0.1, 1.0)
    for attempt, most in enumerate([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]):
        drawn = [backoff.wait(attempt) for _ in range(200)]
        assert 0 <= min(drawn) and max(drawn) <= most and max(drawn) > most / 2
