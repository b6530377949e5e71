"""Which messages are new: a sliding window over (epoch, seq), one for each key of each device.

A window remembers the largest seq of the current epoch and which of the last `size` were seen. A larger epoch starts it anew; a smaller one
is a device that lost its counter, or a message kept from before, and refused. It is asked *after* the signature, so that what is not
authenticated cannot move it (as in IPsec ESP, RFC 4303 3.4.3, and OSCORE, RFC 8613 7.4). Memory: one integer of `size` bits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from edgerun.errors import OptionError

SIZE = 1024
"""How far a message may arrive behind a later one; a power of two, as the store in Redis keeps its bits in a ring."""
MAX_EPOCH = 2**32 - 1
MAX_SEQ = 2**64 - 1


class Verdict(Enum):
    """What a window says; the values are the labels of the metric."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    TOO_OLD = "too_old"
    EPOCH_ROLLBACK = "epoch_rollback"


class ReplayStore(Protocol):
    """Where windows are kept. A FRESH verdict is on disk (or in Redis) before accept returns: no other caller gets it again."""

    async def accept(self, device: str, key: str, epoch: int, seq: int) -> Verdict:
        """The verdict on (epoch, seq) under this key; FRESH marks it as seen."""

    async def close(self) -> None:
        """Nothing is asked any more."""


@dataclass
class Window:
    """top: largest seq seen in `epoch`; bit i of `seen`: top - i was seen. epoch -1: nothing was seen yet."""

    size: int = SIZE
    epoch: int = -1
    top: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.size & (self.size - 1):
            raise OptionError(f"replay window: expected a power of two; found {self.size}")

    def accept(self, epoch: int, seq: int) -> Verdict:
        """The verdict; on FRESH the window has moved. epoch 0 … 2^32-1 and seq 0 … 2^64-1, which Envelope.parse has checked."""
        if epoch < self.epoch:
            return Verdict.EPOCH_ROLLBACK
        if epoch > self.epoch:
            self.epoch, self.top, self.seen = epoch, seq, 1
            return Verdict.FRESH
        if seq > self.top:
            ahead = seq - self.top
            self.seen = 1 if ahead >= self.size else (self.seen << ahead | 1) & ((1 << self.size) - 1)
            self.top = seq
            return Verdict.FRESH
        behind = self.top - seq
        if behind >= self.size:
            return Verdict.TOO_OLD
        if self.seen >> behind & 1:
            return Verdict.REPLAYED
        self.seen |= 1 << behind
        return Verdict.FRESH


def next_epoch(path: str | Path) -> int:
    """The device's epoch after a start: one more than in the file, which is on disk before this returns; 1 where there is no file.

    A device that loses the file has to get a new key: its old epochs are refused. OptionError where the file cannot be used.
    """
    path = Path(path)
    try:
        epoch = int(path.read_text(encoding="ascii")) + 1 if path.exists() else 1
        if not 0 < epoch <= MAX_EPOCH:
            raise ValueError(f"epoch {epoch}, which is past 2^32-1 or negative")
        fresh = path.with_name(path.name + ".new")
        with open(fresh, "w", encoding="ascii") as f:
            f.write(f"{epoch}\n")
            f.flush()
            os.fsync(f.fileno())
        os.replace(fresh, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, ValueError) as e:
        raise OptionError(f"{path}: expected a file with the number of the device's last start; found: {e}; give the device a new key "
                          "(`edgerun keys rotate`) and start without the file") from e
    return epoch
