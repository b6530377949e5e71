"""Files that come into a folder: in order, once whole, out of the way when they are answered."""

from __future__ import annotations

import os
import time

import pytest

from edgerun.errors import OptionError
from edgerun_tools.device.watch import Watch


def _put(folder, name, age=10.0):
    (folder / name).write_bytes(b"x")
    os.utime(folder / name, (time.time() - age,) * 2)


def test_files_come_in_the_order_of_their_times(tmp_path):
    for name, age in (("b.png", 3), ("a.png", 2), ("c.npy", 1), (".hidden.png", 5), ("notes.txt", 9)):
        _put(tmp_path, name, age)
    found = []
    watch = Watch(tmp_path, lambda: len(found) == 3)
    for file in watch:
        found.append(file.name)
        watch.done(file)
    assert found == ["b.png", "a.png", "c.npy"]
    assert sorted(p.name for p in (tmp_path / ".done").iterdir()) == ["a.png", "b.png", "c.npy"]


def test_a_file_that_is_still_written_has_to_wait(tmp_path):
    _put(tmp_path, "new.png", age=0)
    began = time.monotonic()
    assert next(iter(Watch(tmp_path, lambda: False))).name == "new.png"
    assert time.monotonic() - began >= 0.25


def test_what_was_not_done_comes_again(tmp_path):
    _put(tmp_path, "a.png")
    assert [next(iter(Watch(tmp_path, lambda: False))).name for _ in range(2)] == ["a.png", "a.png"]


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(OptionError, match="--watch"):
        Watch(tmp_path / "no" / "where", lambda: True)
