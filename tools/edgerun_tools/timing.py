"""Honest timing of several backends on one machine: interleaved rounds in random order, medians of ratios."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]
WARM_CALLS = 3
"""Untimed calls at the head of every block: caches and threads are as they would be in a steady stream."""
BLOCK_S = 0.03
"""Target length of one backend's block in a round, in seconds."""
PAUSE_S = 0.004
"""Pause between blocks, in seconds: lets the previous backend's spinning threads go to sleep."""
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Timing:
    """One backend: every call's time in ms, and the median of each round in ms."""

    calls: np.ndarray
    rounds: np.ndarray
    first_ms: float

    def summary(self) -> dict[str, float]:
        """Percentiles, mean, minimum, maximum of the calls in ms; `first` is the very first call."""
        out = {f"p{p}": float(np.percentile(self.calls, p)) for p in PERCENTILES}
        return out | {"mean": float(self.calls.mean()), "min": float(self.calls.min()), "max": float(self.calls.max()),
                      "first": self.first_ms}


def interleave(backends: Mapping[str, Call], *, rounds: int | None = None, duration_s: float = 5.0, warmup: int = 10,
               seed: int = 0, progress: Callable[[], None] = lambda: None) -> dict[str, Timing]:
    """Time all backends in the same rounds.

    A round runs one block of calls of every backend, in an order shuffled by `seed`. Without `rounds` there are as
    many as fit into `duration_s` seconds, at least 5. Every backend is called `warmup` times before.
    """
    first = {name: _elapsed_ms(call) for name, call in backends.items()}
    estimate = {}
    for name, call in backends.items():
        time.sleep(PAUSE_S)
        times = [_elapsed_ms(call) for _ in range(max(1, warmup))]
        estimate[name] = statistics.median(times) / 1e3
    counts = {name: max(3, min(2000, int(BLOCK_S / max(t, 1e-7)))) for name, t in estimate.items()}
    calls: dict[str, list[np.ndarray]] = {name: [] for name in backends}
    order = list(backends)
    shuffle = random.Random(seed)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        done = 0
        while done < rounds if rounds else done < 5 or time.perf_counter() - started < duration_s:
            shuffle.shuffle(order)
            for name in order:
                time.sleep(PAUSE_S)
                calls[name].append(_block(backends[name], counts[name]))
            done += 1
            progress()
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(np.concatenate(blocks), np.array([float(np.median(b)) for b in blocks]), first[name])
            for name, blocks in calls.items()}


def _elapsed_ms(call: Call) -> float:
    t = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - t) / 1e6


def _block(call: Call, count: int) -> np.ndarray:
    """Times of `count` calls in ms."""
    for _ in range(WARM_CALLS):
        call()
    clock = time.perf_counter_ns
    times = np.empty(count)
    for k in range(count):
        t = clock()
        call()
        times[k] = clock() - t
    return times / 1e6


def ratio(theirs: Timing, ours: Timing) -> dict[str, float]:
    """theirs / ours: median over the rounds, and the quartiles of it. Above 1: ours is faster."""
    r = theirs.rounds / ours.rounds
    return {"median": float(np.median(r)), "p25": float(np.percentile(r, 25)), "p75": float(np.percentile(r, 75))}
