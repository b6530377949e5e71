"""Worker threads with a bounded queue: who finds it full is turned away at once, who waited too long before it is their turn, too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgerun.errors import Refused

T = TypeVar("T")
QUEUE_S = 0.05
"""What may wait is done within so long. The event loop is away for as long where hundreds of connections are turned away at once, and what
waits is all that workers have meanwhile: with a queue of twice the workers, three quarters of the peak were lost (docs/serving-load.md)."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """value: what the work returned; queue_s: seconds it waited for a worker."""

    value: T
    queue_s: float


class Pool:
    """workers: threads; the work gets the number of one that is free, so each number is used by one thread at a time. waiting: how many
    may wait; None: as many as are done within QUEUE_S, at least twice the workers. All methods belong to the event loop."""

    def __init__(self, workers: int, waiting: int | None) -> None:
        self.workers = workers
        self._waiting = waiting
        self.pending = 0
        self._threads = ThreadPoolExecutor(workers, "edgerun-worker")
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for k in range(workers):
            self._free.put(k)
        self._mean_s = 0.01

    async def run(self, work: Callable[[int], T], wait_s: float) -> Done[T]:
        """The work's result, or what it raises. Refused("overload") where the queue is full, Refused("deadline") after wait_s of waiting.
        Work that has begun goes on whatever happens: a cancelled caller leaves it running, its place stays taken until it ends."""
        self.room()
        asked = time.perf_counter()

        def on_thread() -> tuple[T, float, float]:
            worker = self._free.get_nowait()  # one is free: there are as many as threads
            try:
                began = time.perf_counter()
                return work(worker), began - asked, time.perf_counter() - began
            finally:
                self._free.put(worker)

        self.pending += 1
        future = self._threads.submit(on_thread)
        wrapped = asyncio.wrap_future(future)
        wrapped.add_done_callback(self._ended)
        done, _ = await asyncio.wait({wrapped}, timeout=wait_s)
        if not done and future.cancel():
            raise Refused("deadline", "no worker was free within the time allowed", retry_after=self.wait_estimate())
        value, queued, took = await asyncio.shield(wrapped)
        self._mean_s += 0.1 * (took - self._mean_s)  # of the worker alone: the loop may come back to this late
        return Done(value, queued)

    @property
    def waiting(self) -> int:
        """How many may wait now."""
        return self._waiting or max(2 * self.workers, int(QUEUE_S / self._mean_s * self.workers))

    def put_ahead(self, steps: int) -> None:
        """Make the calling thread, the event loop's, and threads that it starts from now on less urgent than the workers by so many steps
        of nice: where processors are short, accepted work goes before turning more away. On Linux, where threads have a nice of their
        own."""
        if sys.platform != "linux":
            return
        started = threading.Barrier(self.workers + 1)  # a thread inherits the urgency of who starts it
        for _ in range(self.workers):
            self._threads.submit(started.wait)
        started.wait()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + steps)

    def room(self) -> None:
        """Refused("overload") where the queue is full."""
        if self.pending >= self.workers + self.waiting:
            raise Refused("overload", "the queue is full; try again later", retry_after=self.wait_estimate())

    def wait_estimate(self) -> float:
        """Seconds until all that is pending now is done, at least 1."""
        return max(1.0, self.pending * self._mean_s / self.workers)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self.pending -= 1
        if not future.cancelled():
            future.exception()  # taken note of, for callers that were cancelled meanwhile

    def close(self) -> None:
        """Waiting work is dropped; work that has begun is waited for."""
        self._threads.shutdown(wait=True, cancel_futures=True)
