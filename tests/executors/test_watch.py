"""A time limit on Python code: it comes in time, only inside, and leaves nothing behind."""

from __future__ import annotations

import time

import pytest

from edgerun.errors import DeadlineExceeded
from edgerun.limits import Clock
from edgerun.watch import watched


def spin(seconds: float) -> str:
    """Busy in byte code, and deaf to every Exception."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            sum(range(100))
        except Exception:
            continue
    return "done"


def test_without_a_limit_it_is_the_call() -> None:
    assert watched(Clock(None), "m", "spinning", lambda: spin(0.01)) == "done"


def test_time_enough() -> None:
    assert watched(Clock(30), "m", "spinning", lambda: spin(0.01)) == "done"


def test_the_time_is_over() -> None:
    begin = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"m: expected to be done within 0\.1 s, found it spinning"):
        watched(Clock(0.1), "m", "spinning", lambda: spin(20))
    assert time.monotonic() - begin < 10


def test_errors_of_the_call_come_through() -> None:
    with pytest.raises(KeyError):
        watched(Clock(30), "m", "failing", lambda: {}["x"])


@pytest.mark.parametrize("seconds", [1e-5, 3e-5, 1e-4, 3e-4, 1e-3])
def test_an_alarm_at_any_moment_is_one_error_or_none(seconds: float) -> None:
    """Near the beginning and the end of the call, where nothing of the alarm may escape."""
    for _ in range(200):
        try:
            watched(Clock(seconds), "m", "spinning", lambda: spin(seconds))
        except DeadlineExceeded:
            continue
    time.sleep(0.01)
