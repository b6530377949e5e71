"""A time limit on Python code that does not look at the clock itself (onnx.reference, loops inside of it)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from edgerun.limits import Clock

T = TypeVar("T")


def watched(clock: Clock, name: str, doing: str, call: Callable[[], T]) -> T:
    """call(), or DeadlineExceeded once the clock's time is over.

    A timer thread asks the interpreter to raise an exception in this thread at the next byte code; a single call into C is
    not interrupted. Without a time limit it is the call, no more."""
    if clock.over:
        raise clock.late(name, doing)
    if clock.left is None:
        return call()
    alarm = _Alarm(clock.left)
    try:
        try:
            alarm.start()
            return call()
        finally:
            alarm.stop()
    except _TimeIsOver:
        alarm.stop()  # once more: the exception may have come in the midst of stopping
        raise clock.late(name, doing) from None


class _TimeIsOver(BaseException):
    """Not an Exception, so that code which survives every Exception does not survive this."""


class _Alarm:
    """Raises _TimeIsOver in the thread that made it, between `start` and `stop` only."""

    def __init__(self, seconds: float) -> None:
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._wanted = self._rang = False
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def start(self) -> None:
        self._wanted = True
        self._timer.start()

    def stop(self) -> None:
        with self._lock:
            self._wanted = False
        self._timer.cancel()
        if self._rang:  # perhaps not raised yet: then it is taken back
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)

    def _ring(self) -> None:
        with self._lock:
            if self._wanted:
                self._rang = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_TimeIsOver))
