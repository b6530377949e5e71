"""Inputs that somebody puts into a folder: each is answered once, then moved to `.done` in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgerun.errors import DataError, OptionError
from edgerun.preprocess import IMAGE_SUFFIXES

SUFFIXES = IMAGE_SUFFIXES | {".npy", ".npz"}
SETTLED_S = 0.3
"""A file that was not written to for so long is taken to be whole; one that is renamed into the folder is whole at once, but who knows?"""


class Watch:
    """OptionError where the folder cannot be used."""

    def __init__(self, folder: str | os.PathLike[str], ended: Callable[[], bool]) -> None:
        self._folder, self._done, self._ended = Path(folder), Path(folder) / ".done", ended
        try:
            self._done.mkdir(exist_ok=True)
        except OSError as e:
            raise OptionError(f"--watch {folder}: expected a folder that can be written; found: {e.strerror}") from e

    def __iter__(self) -> Iterator[Path]:
        """Files in the order of their times, as they come, until `ended`."""
        while not self._ended():
            waiting = self._settled()
            for file in waiting:
                if self._ended():
                    return
                yield file
            if not waiting:
                time.sleep(0.1)

    def _settled(self) -> list[Path]:
        found = []
        for file in self._folder.iterdir():
            try:
                told = file.stat()
            except FileNotFoundError:
                continue
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file() \
                    and time.time() - told.st_mtime > SETTLED_S:
                found.append((told.st_mtime_ns, file))
        return [file for _, file in sorted(found)]

    def done(self, file: Path) -> None:
        """Out of the way. A process that is killed before this answers the file again when it is started. DataError."""
        try:
            os.replace(file, self._done / file.name)
        except OSError as e:
            raise DataError(f"{file}: expected to move it to {self._done}; found: {e.strerror}") from e
