"""Opening files that a model names: regular files only, of bounded size, and below the model's folder where they must be."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from edgerun.errors import ModelFormatError, ModelNotFoundError
from edgerun.limits import refuse, size

_QUIET = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""O_NONBLOCK: opening a pipe nobody writes to must not wait."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def read_model(path: Path, limit: int) -> bytes:
    """The bytes of a model file of at most `limit` bytes. Raises ModelNotFoundError, ModelFormatError, LimitError."""
    try:
        handle = os.open(path, _QUIET)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelNotFoundError(f"{path}: no such file; expected the path of an ONNX model") from error
    except OSError as error:
        raise ModelFormatError(f"{path}: expected an ONNX file that can be read, found: {error.strerror}") from error
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        raise ModelFormatError(f"{path}: expected an ONNX file, found {_kind(state.st_mode)}")
    with os.fdopen(handle, "rb") as file:
        if state.st_size > limit:
            raise refuse(str(path), "size of the file", size(state.st_size), size(limit), "max_file= (--bound file=BYTES)")
        try:
            return file.read(min(limit, state.st_size))
        except OSError as error:
            raise ModelFormatError(f"{path}: expected an ONNX file that can be read, found: {error.strerror}") from error


def open_inside(folder: Path, location: str, where: str) -> tuple[int, int]:
    """(file descriptor, size) of the regular file `location` below `folder`; the caller closes it.

    No step of the way may leave the folder or be a link: every component is opened relative to the one before without
    following links, so that nothing can be exchanged in between. A second hard link is refused too, as the file could be
    another user's. ModelFormatError starts with `where`."""
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if not parts or location.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in location:
        raise ModelFormatError(f"{where}: expected a file in the model's folder, found location {location[:80]!r}")
    try:
        handle = _descend(folder, parts)
    except OSError as error:
        raise ModelFormatError(f"{where}: expected a regular file in the model's folder at {location[:80]!r}, found: "
                               f"{error.strerror}") from error
    state = os.fstat(handle)
    if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        return handle, state.st_size
    os.close(handle)
    found = f"a file with {state.st_nlink} names (hard links)" if stat.S_ISREG(state.st_mode) else _kind(state.st_mode)
    raise ModelFormatError(f"{where}: expected a regular file with one name at {location[:80]!r}, found {found}")


def _descend(folder: Path, parts: tuple[str, ...]) -> int:
    if os.open not in os.supports_dir_fd:  # Windows: a check, then the open
        for k in range(len(parts)):
            if folder.joinpath(*parts[: k + 1]).is_symlink():
                raise OSError(0, "a link")
        return os.open(folder.joinpath(*parts), _QUIET)
    at = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], _QUIET | _NO_LINK, dir_fd=at)
    finally:
        os.close(at)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
             (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
    return next((text for test, text in kinds if test(mode)), "no regular file")
