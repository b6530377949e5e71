"""Closed and open loops of requests, and what is counted in them."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun_tools.serve.load_clients import OK, Client
from edgerun_tools.serve.load_work import Work

BACKLOG = 20_000
NOT_SENT = "not sent"
"""Arrivals that may wait for a connection of ours; beyond, they are counted as NOT_SENT: our clients could not keep up."""
PERCENTILES = {"p50": 50, "p99": 99, "p999": 99.9}


@dataclass
class Tally:
    """One phase. Times in seconds. due: from the moment a request was to be sent to its answer (in an open loop that is its arrival, so
    that waiting behind slow answers counts: no coordinated omission); sent: from when a client of ours took it; lag: between the two, which
    is our own slowness where there are clients enough. ok, other: of answers OK and of others. began: of the phase, by perf_counter."""

    began: float
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    ok_due: array[float] = field(default_factory=lambda: array("d"))
    ok_sent: array[float] = field(default_factory=lambda: array("d"))
    other_sent: array[float] = field(default_factory=lambda: array("d"))
    lag: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))
    own_share: float = 0.0

    def add(self, status: str, due: float, sent: float) -> None:
        """Count one answer that came now."""
        now = time.perf_counter()
        self.statuses[status] += 1
        self.lag.append(sent - due)
        if status == OK:
            self.ok_due.append(now - due)
            self.ok_sent.append(now - sent)
            self.ends.append(now)
        else:
            self.other_sent.append(now - sent)

    @property
    def goodput(self) -> float:
        """Right answers a second that came while the phase lasted."""
        inside = int(np.count_nonzero(np.frombuffer(self.ends) <= self.began + self.seconds)) if self.ends else 0
        return inside / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, Any]:
        """Plain values: counts, rates, percentiles in ms; own_share: of one processor, used by the clients."""
        return {"seconds": round(self.seconds, 2), "requests": sum(self.statuses.values()), "goodput_per_s": round(self.goodput, 1),
                "statuses": dict(sorted(self.statuses.items())), "ok_ms": percentiles(self.ok_due), "ok_sent_ms": percentiles(self.ok_sent),
                "refused_sent_ms": percentiles(self.other_sent), "lag_ms": percentiles(self.lag), "own_share": round(self.own_share, 3)}


def percentiles(seconds: array[float]) -> dict[str, float] | None:
    """Nearest rank, in ms; None without any."""
    if not seconds:
        return None
    values = np.frombuffer(seconds) * 1e3
    found = {name: round(float(np.percentile(values, p, method="inverted_cdf")), 3) for name, p in PERCENTILES.items()}
    return found | {"max": round(float(values.max()), 3)}


async def closed(clients: Sequence[Client], work: Sequence[Work], seconds: float) -> Tally:
    """Every client sends, waits for the answer, and sends again. What is measured is what so many clients see; it says nothing about
    arrivals that do not wait (`opened` does)."""
    began, cpu = time.perf_counter(), time.process_time()
    tally, end = Tally(began, seconds), began + seconds

    async def one(k: int, client: Client) -> None:
        turn = k * 7919  # clients do not send the same inputs at the same time
        while (start := time.perf_counter()) < end:
            tally.add(await client.send(work[turn % len(work)]), start, start)
            turn += 1

    await asyncio.gather(*(one(k, c) for k, c in enumerate(clients)))
    tally.own_share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return tally


async def opened(clients: Sequence[Client], work: Sequence[Work], rate: float, seconds: float, *, drop: bool = False,
                 seed: int = 1) -> Tally:
    """Poisson arrivals, `rate` a second, whatever the server does. A request goes out by the first client that is free; its time counts
    from its arrival. At the end all arrivals are waited for; drop: those that no client has taken by then are counted as NOT_SENT."""
    began, cpu = time.perf_counter(), time.process_time()
    tally, gaps = Tally(began, seconds), random.Random(seed)
    waiting: asyncio.Queue[tuple[float, Work] | None] = asyncio.Queue()

    async def one(client: Client) -> None:
        while (task := await waiting.get()) is not None:
            sent = time.perf_counter()
            tally.add(await client.send(task[1]), task[0], sent)

    running = [asyncio.create_task(one(c)) for c in clients]
    due, k = began + gaps.expovariate(rate), 0
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        while due <= now and due < began + seconds:
            if waiting.qsize() < BACKLOG:
                waiting.put_nowait((due, work[k % len(work)]))
            else:
                tally.statuses[NOT_SENT] += 1
            due, k = due + gaps.expovariate(rate), k + 1
    while drop and not waiting.empty():
        waiting.get_nowait()
        tally.statuses[NOT_SENT] += 1
    for _ in clients:
        waiting.put_nowait(None)
    await asyncio.gather(*running)
    tally.own_share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return tally


__all__ = ["BACKLOG", "NOT_SENT", "Tally", "closed", "opened", "percentiles"]
