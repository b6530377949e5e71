"""Paths that are no file with a model in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .case import Case, Skip

FAMILY = "paths"


def made(create: Callable[[], object], what: str) -> None:
    """Run one call of the system; Skip where it is not possible here. `what` says what was to be made."""
    try:
        create()
    except (OSError, NotImplementedError, AttributeError) as error:
        raise Skip(f"{what} cannot be made here: {error}") from error


def device(path: str) -> Path:
    """The path of a device file that exists; Skip elsewhere."""
    if not Path(path).is_char_device():
        raise Skip(f"there is no device {path} here")
    return Path(path)


def fifo(path: Path) -> Path:
    """A named pipe that nobody writes to."""
    made(lambda: os.mkfifo(path), "a named pipe")
    return path


def _nowhere(folder: Path) -> Path:
    return folder / "nowhere.onnx"


def _folder(folder: Path) -> Path:
    (folder / "model.onnx").mkdir()
    return folder / "model.onnx"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file" / "model.onnx"


def _link(folder: Path, target: Path) -> Path:
    path = folder / "model.onnx"
    made(lambda: path.symlink_to(target), "a symbolic link")
    return path


def _huge(folder: Path) -> Path:
    path = folder / "model.onnx"
    with path.open("wb") as file:
        made(lambda: file.truncate(8 << 30), "a sparse file of 8 GiB")
    return path


CASES = (
    Case("path-missing", FAMILY, "There is no such file.", _nowhere),
    Case("path-folder", FAMILY, "The model is a folder.", _folder),
    Case("path-below-a-file", FAMILY, "A part of the path is a file.", _below_a_file),
    Case("path-fifo", FAMILY, "The model is a named pipe; who opens it waits for ever.",
         lambda folder: fifo(folder / "model.onnx")),
    Case("path-link-to-nothing", FAMILY, "A symbolic link whose target does not exist.",
         lambda folder: _link(folder, folder / "gone.onnx")),
    Case("path-link-to-itself", FAMILY, "A symbolic link that points to itself.",
         lambda folder: _link(folder, folder / "model.onnx")),
    Case("path-endless-device", FAMILY, "A symbolic link to /dev/zero, which never ends.",
         lambda folder: _link(folder, device("/dev/zero"))),
    Case("path-8-gib", FAMILY, "A sparse file of 8 GiB.", _huge),
)
