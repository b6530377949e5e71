"""Bounds on what a model may ask for, so that no file makes the process hang or take the machine's memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgerun.errors import DeadlineExceeded, LimitError

BASE_MEMORY = 192 << 20
MEMORY_PER_BYTE = 4
MAX_RANK = 32
"""More axes than any kernel here serves; NumPy itself stops at 64."""


@dataclass(frozen=True)
class Limits:
    """What one model may use. None: no bound, but for `memory`, whose default grows with the model (see `budget`).

    memory      bytes of weights, folded constants and intermediate results together
    seconds     wall time of loading, and of every run
    file        bytes of the model file, and of each external data file
    nodes       nodes of the graph, its subgraphs and its functions where they are called
    depth       graphs within graphs, functions within functions
    name        bytes of a name
    trips       iterations of all Loop and Scan nodes in one run
    operators   the only operators (as "Conv", "ai.onnx.ml.Scaler") that may occur; None: all that are known
    """

    memory: int | None = None
    seconds: float | None = None
    file: int = 1 << 30
    nodes: int = 50_000
    depth: int = 32
    name: int = 4096
    trips: int = 20_000
    operators: frozenset[str] | None = None

    def budget(self, model_bytes: int) -> int:
        """Bytes a model of this size may use: `memory`, or what an honest file needs. A bomb is small and asks for much,
        a large model brings its weights along."""
        return BASE_MEMORY + MEMORY_PER_BYTE * model_bytes if self.memory is None else self.memory


class Clock:
    """The time one load or run has left."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds left, not below 0; None without a bound."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is over; asked before every node, so the words of the error are left to `late`."""
        return self._end is not None and time.monotonic() > self._end

    def late(self, name: str, doing: str) -> DeadlineExceeded:
        """The error that says what was going on when the time was over, and how to allow more."""
        return DeadlineExceeded(f"{name}: expected to be done within {self.seconds:g} s, found it {doing}; allow more with "
                                "timeout= (--timeout)")


def refuse(name: str, what: str, found: object, limit: object, option: str) -> LimitError:
    """The error that says which limit is in the way and how to raise it."""
    return LimitError(f"{name}: {what}: expected at most {limit}, found {found}; raise it with {option} if you trust the model")


def size(count: int) -> str:
    """Bytes for people: "1.5 GiB"."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024 or unit == "EiB":
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.4g} {unit}"


def short(text: str | bytes) -> str:
    """A name from a file as messages show it: printable, at most 80 characters. Bytes: what protobuf could not decode."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    text = text if len(text) <= 80 else f"{text[:60]}…{text[-16:]}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
