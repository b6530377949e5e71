"""The results of a campaign: one file, a frozen header and a line a fault; appended while it runs, sorted when it is done.

Lines are canonical JSON. While a campaign runs they come in the order in which they are found; what was told to be safe is on the disk
(fsync a batch). A line that a kill cut off is dropped when the campaign goes on. The finished file is written beside the old one and takes
its place at once, so it depends on the plan only, not on who computed what when.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgerun.errors import DataError, OptionError

NAME = "results.jsonl"
Row = dict[str, Any]


def canonical(value: Row) -> bytes:
    """One line: the same bytes for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class Store:
    """The results in a folder. header: what the campaign is; `done`: ids of the faults that have a result.

    resume: go on with what is there. OptionError where there is something and it is not to be gone on with; DataError where what is there
    belongs to another campaign, naming the difference."""

    def __init__(self, folder: Path, header: Row, *, resume: bool) -> None:
        self.path, self.header = folder / NAME, header
        self.done: set[int] = set()
        if self.path.exists() and not resume:
            raise OptionError(f"--out {folder}: expected a folder without results; found {NAME}; go on with --resume, or take another one")
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self._whole():
            with self.path.open("rb") as file:
                _same(json.loads(file.readline()), json.loads(canonical(header)), self.path)
                self.done = {json.loads(line)["id"] for line in file}
            self._file: BinaryIO = self.path.open("ab")
        else:
            self._file = self.path.open("wb")
            self._file.write(canonical(header))
            self._sync()

    def add(self, rows: Iterable[Row]) -> None:
        """Append results; they are on the disk when this returns. A fault that has one keeps it."""
        for row in rows:
            if row["id"] not in self.done:
                self.done.add(row["id"])
                self._file.write(canonical(row))
        self._sync()

    def rows(self) -> Iterator[Row]:
        """Every result so far, in the order of the file."""
        self._file.flush()
        with self.path.open("rb") as file:
            file.readline()
            yield from map(json.loads, file)

    def finish(self) -> None:
        """Sort by id. The file is complete and canonical afterwards, whoever reads it meanwhile sees the old one or the new one."""
        rows = sorted(self.rows(), key=lambda row: row["id"])
        beside = self.path.with_suffix(".sorting")
        with beside.open("wb") as file:
            file.write(canonical(self.header))
            file.writelines(map(canonical, rows))
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        os.replace(beside, self.path)
        _sync_folder(self.path.parent)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _whole(self) -> bool:
        """Drop a last line that was cut off; whether the header is left."""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(self.path, end)
        return end > 0


def read(folder: Path) -> tuple[Row, list[Row]]:
    """Header and results of a campaign, also of one that is still running. DataError where there are none."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")[:-1]  # what follows the last line end was cut off
        return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
    except (OSError, ValueError, IndexError) as e:
        raise DataError(f"{folder / NAME}: expected the results of a campaign; found: {e}") from e


def _same(found: Row, expected: Row, path: Path) -> None:
    for key in sorted(set(found) | set(expected)):
        if found.get(key) != expected.get(key):
            raise DataError(f"{path}: expected results of the campaign that is asked for; found another {key}: {_short(found.get(key))} "
                            f"instead of {_short(expected.get(key))}; repeat its command, or take another --out")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "…"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
