"""The folder in which a device keeps what has to outlive a power cut: the number of its last start and the events not yet delivered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError
from edgerun.splits.replay import next_epoch


class State:
    """One process at a time has the folder; a lock, which the kernel drops with the process, keeps a second one out: two that count
    for themselves under one key would be taken for replays of each other. OptionError: in use, or not to be written.

    epoch: of this start, on disk before this returns. spool: the file of events.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock: Any = open(self.folder / "lock", "a")
        except OSError as e:
            raise OptionError(f"state {folder}: expected a folder that can be written; found: {e.strerror}") from e
        try:
            _lock(self._lock)
        except OSError as e:
            self._lock.close()
            raise OptionError(f"state {folder}: expected a folder of this device alone; found it in use by another process") from e
        self.epoch = next_epoch(self.folder / "epoch")

    @property
    def spool(self) -> Path:
        return self.folder / "events.db"

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()


def _lock(file: Any) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
