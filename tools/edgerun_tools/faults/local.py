"""Batches on the cores of this machine: concurrent.futures hands them out, one worker process a thread runs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from edgerun.errors import EdgeRunError
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.worker import Worker

Batch = Sequence[Planned]
Results = list[dict[str, Any]]


def run(bundle: Path, batches: Iterator[Batch], jobs: int, digest: str) -> Iterator[Results]:
    """The results of every batch, in the order in which they are done. digest: of the clean answers, which every worker must
    give too (EdgeRunError)."""
    mine, workers = threading.local(), []

    def begin() -> None:
        mine.worker = Worker(bundle)
        workers.append(mine.worker)
        agree(mine.worker.digest, digest)

    def one(batch: Batch) -> Results:
        if not hasattr(mine, "worker"):
            begin()
        results: Results = mine.worker.run(batch)
        return results

    pool = ThreadPoolExecutor(jobs)
    waiting: set[Future[Results]] = set()
    try:
        for batch in batches:
            waiting.add(pool.submit(one, batch))
            if len(waiting) > jobs:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (f.result() for f in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (f.result() for f in done)
    finally:
        for worker in workers:
            worker.close()
        pool.shutdown(cancel_futures=True)


def agree(found: str, expected: str) -> None:
    """EdgeRunError where a worker's clean answers are not those of the campaign: its results would not belong to it."""
    if found != expected:
        raise EdgeRunError("fault-injection worker: expected the clean answers that this process gives; found others: another version, "
                           "build or instruction set (EDGERUN_ISA forces one)")
