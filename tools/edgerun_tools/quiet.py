"""Keep other libraries' chatter away from our output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr() -> Iterator[None]:
    """Drop what C libraries write to file descriptor 2 inside the block."""
    yield from _dropped(2)


@contextmanager
def native_stdout() -> Iterator[None]:
    """Drop what C libraries write to file descriptor 1 inside the block."""
    sys.stdout.flush()
    yield from _dropped(1)


def _dropped(descriptor: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, descriptor)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(sink)
