"""An event loop that stays quick where more comes than it can handle.

asyncio handles every socket that is ready before it looks at anything else: two hundred connections to be turned away are 40 ms in which
no result of a worker is passed on, and gRPC, which is one file descriptor to the loop and takes one call a turn, gets 25 calls a second.
Here a turn is a few sockets, those that waited longest, and gRPC's each time."""

from __future__ import annotations

import asyncio
import selectors
import sys
import weakref
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 8
"""Sockets a turn: some 2 ms of refusals."""
_of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, FairSelector] = weakref.WeakKeyDictionary()


class FairSelector(selectors.DefaultSelector):
    """At most `most` of the sockets that are ready, the least recently chosen first; those that were registered while `urgent` was set come
    beside them each time. The others are still ready when it is asked next."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self.most, self.urgent = most, False
        self._always: set[int] = set()
        self._chosen: dict[int, int] = {}
        self._count = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        if self.urgent:
            self._always.add(key.fd)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._always.discard(key.fd)
        self._chosen.pop(key.fd, None)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        if len(ready) <= self.most:
            return ready
        always = [r for r in ready if r[0].fd in self._always]
        others = sorted((r for r in ready if r[0].fd not in self._always), key=lambda r: self._chosen.get(r[0].fd, 0))[:self.most]
        for key, _ in others:
            self._count += 1
            self._chosen[key.fd] = self._count
        return always + others


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop on a FairSelector."""
    selector = FairSelector()
    loop = asyncio.SelectorEventLoop(selector)
    _of[loop] = selector
    return loop


@contextmanager
def urgent() -> Iterator[None]:
    """What is registered within, with the running loop where that is one of `new_loop`, is looked at in every turn. Nothing may be awaited
    within."""
    selector = _of.get(asyncio.get_running_loop())
    if selector is None:
        yield
        return
    selector.urgent = True
    try:
        yield
    finally:
        selector.urgent = False


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, on `new_loop`. Python 3.10 runs it on a loop of its own choice."""
    if sys.version_info < (3, 11):
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
