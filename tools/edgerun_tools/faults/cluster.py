"""Batches on a Dask cluster: `--scheduler tcp://…` (extra `campaign`).

Dask hands out the batches, moves those of a worker that is lost to others, and carries the bundle. On a worker they run in a process
of their own, as here (`worker`): a Dask worker has threads and may not fork.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from edgerun.errors import OptionError
from edgerun_tools.faults.local import Batch, Results, agree
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.worker import Worker, started

AHEAD = 3
"""Batches a worker thread has in hand or waiting: enough that none idles, few enough that little is lost with it."""
RETRIES = 3
"""Times a batch is tried again that ended with an error (Dask itself moves batches of lost workers)."""


def run(bundle: bytes, batches: Iterator[Batch], scheduler: str, digest: str) -> Iterator[Results]:
    """See local.run. scheduler: its address; results come from as many workers as it has, more or fewer while this runs."""
    try:
        from distributed import Client, as_completed
    except ImportError as e:
        raise OptionError(f"--scheduler: expected Dask's distributed; found: {e}; pip install 'edgerun[campaign]'") from e
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError) as e:
        raise OptionError(f"--scheduler {scheduler}: expected a Dask scheduler that answers; found: {e}; start one with: dask "
                          "scheduler") from e
    with client:
        client.wait_for_workers(1, timeout=60)
        held = client.scatter(bundle, broadcast=True, hash=True)
        key = sha256(bundle).hexdigest()

        def submit(batch: Batch) -> Any:
            return client.submit(_batch, held, key, digest, [f.to_dict() for f in batch], pure=False, retries=RETRIES)

        going = as_completed()
        for batch in batches:
            going.add(submit(batch))
            while going.count() >= AHEAD * max(1, sum(client.nthreads().values())):
                yield next(going).result()
        for future in going:
            yield future.result()


_WORKERS: dict[tuple[str, int], Worker] = {}
"""Worker processes of this Dask worker, by bundle and thread."""


def _batch(bundle: bytes, key: str, digest: str, faults: Sequence[dict[str, Any]]) -> Results:
    """On a Dask worker: run a batch in this thread's worker process, starting it where it is the first."""
    mine = key, threading.get_ident()
    if mine not in _WORKERS:
        for other in [k for k in _WORKERS if k[1] == mine[1]]:  # of a campaign before
            _WORKERS.pop(other).close()
        _WORKERS[mine] = _start(bundle, digest)
    try:
        return _WORKERS[mine].run([Planned(**f) for f in faults])
    except BaseException:
        _WORKERS.pop(mine).close()
        raise


def _start(bundle: bytes, digest: str) -> Worker:
    keep = started(bundle)
    worker = keep.__enter__()
    atexit.register(keep.__exit__, None, None, None)
    agree(worker.digest, digest)
    return worker
