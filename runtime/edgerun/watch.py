"""A time limit on Python code that does not look at the clock itself (onnx.reference, loops inside of it)."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType

from edgerun.errors import DeadlineExceeded
from edgerun.limits import Clock


class Watch:
    """`with Watch(clock, name, doing):` raises DeadlineExceeded inside the block once the clock's time is over.

    A timer thread asks the interpreter to raise it in this thread at the next byte code; a single call into C is not
    interrupted. Without a time limit it does nothing."""

    def __init__(self, clock: Clock, name: str, doing: str) -> None:
        self._clock, self._name, self._doing = clock, name, doing
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._inside = self._fired = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Watch:
        self._clock.check(self._name, self._doing)
        if self._clock.left is not None:
            self._inside = True
            self._timer = threading.Timer(self._clock.left, self._fire)
            self._timer.daemon = True
            self._timer.start()
        return self

    def _fire(self) -> None:
        with self._lock:
            if self._inside:
                self._fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_TimeIsOver))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is None:
            return
        with self._lock:
            self._inside = False
        self._timer.cancel()
        if self._fired:  # perhaps not raised yet: then it is taken back
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)
            if kind is None or issubclass(kind, (_TimeIsOver, Exception)):
                raise DeadlineExceeded(f"{self._name}: expected to be done within {self._clock.seconds:g} s, found it "
                                       f"{self._doing}; allow more with timeout= (--timeout)") from None


class _TimeIsOver(BaseException):
    """Not an Exception, so that code which survives every Exception does not survive this."""
