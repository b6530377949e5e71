"""Worker threads with a bounded queue: who finds it full is turned away at once, who waited too long before it is their turn, too."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgerun.errors import Refused

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """value: what the work returned; queue_s: seconds it waited for a worker."""

    value: T
    queue_s: float


class Pool:
    """workers: threads; the work gets the number of one that is free, so each number is used by one thread at a time. waiting: how many
    may wait. All methods belong to the event loop."""

    def __init__(self, workers: int, waiting: int) -> None:
        self.workers, self.waiting = workers, waiting
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

        def on_thread() -> tuple[T, float]:
            worker = self._free.get_nowait()  # one is free: there are as many as threads
            try:
                began = time.perf_counter()
                return work(worker), began - asked
            finally:
                self._free.put(worker)

        self.pending += 1
        future = self._threads.submit(on_thread)
        wrapped = asyncio.wrap_future(future)
        wrapped.add_done_callback(self._ended)
        done, _ = await asyncio.wait({wrapped}, timeout=wait_s)
        if not done and future.cancel():
            raise Refused("deadline", "no worker was free within the time allowed", retry_after=self.wait_estimate())
        value, queued = await asyncio.shield(wrapped)
        self._mean_s += 0.1 * (time.perf_counter() - asked - queued - self._mean_s)
        return Done(value, queued)

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
