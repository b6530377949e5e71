"""The ring: public keys of devices that a server lets in.

A JSON file {"schema": "edgerun.keys/1", "keys": [{"device", "id", "public", "not_before", "not_after", "revoked", "note"}]}; times are UTC,
"2026-11-22T03:38:41Z", or null. A device may have several keys, so that a new one is known before the old one goes. The file is read again
when it changes: a revocation holds from the next message on, without a restart.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError, SignatureError
from edgerun.splits.keys import check_device, key_id

SCHEMA = "edgerun.keys/1"
_PUBLIC = re.compile("[0-9a-f]{64}", re.ASCII)
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class KeyRefused(SignatureError):
    """reason: key_unknown | key_revoked | key_not_yet_valid | key_expired."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Entry:
    """A public key in a ring. public: 32 bytes in hex; times: seconds since 1970 or None."""

    device: str
    public: str
    not_before: float | None = None
    not_after: float | None = None
    revoked: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        check_device(self.device)
        if not _PUBLIC.fullmatch(self.public):
            raise OptionError(f"key of {self.device}: expected 64 hex digits, in small letters; found {self.public[:80]!r}")

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.public)

    @property
    def id(self) -> str:
        return key_id(self.raw)

    def status(self, now: float) -> str:
        """valid | key_revoked | key_not_yet_valid | key_expired. A revocation is at once, whatever its time says."""
        if self.revoked is not None:
            return "key_revoked"
        if self.not_before is not None and now < self.not_before:
            return "key_not_yet_valid"
        return "key_expired" if self.not_after is not None and now >= self.not_after else "valid"

    def to_json(self) -> dict[str, Any]:
        """With times in writing, and the id for people."""
        return {**asdict(self), **{k: time_text(getattr(self, k)) for k in _TIMES}, "id": self.id}

    @classmethod
    def from_json(cls, raw: Any) -> Entry:
        """OptionError for anything that to_json would not write."""
        if not isinstance(raw, dict) or set(raw) - {"id"} - set(cls.__dataclass_fields__) or not {"device", "public"} <= set(raw):
            raise OptionError(f"key: expected an object of device, public, {', '.join(_TIMES)} and note; found {str(raw)[:80]}")
        if not isinstance(raw["device"], str) or not isinstance(raw["public"], str):
            raise OptionError("key: expected texts as device and public; found another type")
        entry = cls(**{k: v for k, v in raw.items() if k != "id"} | {k: time_of(raw.get(k)) for k in _TIMES})
        if raw.get("id", entry.id) != entry.id:
            raise OptionError(f"key of {entry.device}: expected the id {entry.id} of this public key; found {str(raw['id'])[:40]!r}")
        return entry


_TIMES = ("not_before", "not_after", "revoked")


class KeyRing:
    """The ring of a file; threads may share it. A file that cannot be read any more lets nobody in: OptionError from `find`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._entries: dict[tuple[str, str], Entry] = {}
        self._reload()

    def entries(self) -> Sequence[Entry]:
        """All, in the order of the file."""
        self._reload()
        return tuple(self._entries.values())

    def entry(self, device: str, key: str) -> Entry:
        """KeyRefused where the device has no such key."""
        self._reload()
        return known(self._entries.get((device, key)), device, key)

    def find(self, device: str, key: str, now: float | None = None) -> bytes:
        """The raw public key (32 bytes) that is valid at `now` (seconds since 1970). KeyRefused."""
        return valid(self.entry(device, key), time.time() if now is None else now)

    def put(self, *changed: Entry) -> None:
        """Add or replace keys, and write the file in one step: a reader sees the old ring or the new one."""
        with _locked(self.path.with_name(self.path.name + ".lock")):
            self._reload()
            write_ring(self.path, (self._entries | {(e.device, e.id): e for e in changed}).values())
            self._reload()

    def _reload(self) -> None:
        try:
            with self._lock:
                now = os.stat(self.path)
                stamp = (now.st_mtime_ns, now.st_size, now.st_ino)
                if stamp != self._stamp:
                    self._entries = {(e.device, e.id): e for e in read_ring(self.path)}
                    self._stamp = stamp
        except OSError as e:
            raise OptionError(f"{self.path}: expected a key ring; found: {e.strerror}; `edgerun keys add` makes one") from e


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, across processes."""
    with open(path, "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def known(entry: Entry | None, device: str, key: str) -> Entry:
    """The entry. KeyRefused where there is none."""
    if entry is None:
        raise KeyRefused("key_unknown", f"device {device}: expected a key of the ring; found {key}; `edgerun keys add` adds it")
    return entry


def valid(entry: Entry, now: float) -> bytes:
    """The raw public key. KeyRefused outside of its time, or revoked."""
    status = entry.status(now)
    if status != "valid":
        raise KeyRefused(status, f"device {entry.device}: expected a valid key; found {entry.id}, {status}")
    return entry.raw


def read_ring(path: Path) -> list[Entry]:
    """OSError, OptionError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise OptionError(f"{path}: expected a key ring in JSON; found: {e}") from e
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or not isinstance(raw.get("keys"), list):
        raise OptionError(f"{path}: expected a key ring of schema {SCHEMA!r}; found something else; `edgerun keys add` makes one")
    return [Entry.from_json(e) for e in raw["keys"]]


def write_ring(path: Path, entries: Iterable[Entry]) -> None:
    """In one step: a reader sees what was there before, or all of this. OptionError."""
    fresh = path.with_name(path.name + ".new")
    try:
        with open(fresh, "w", encoding="utf-8") as f:
            f.write(json.dumps({"schema": SCHEMA, "keys": [e.to_json() for e in entries]}, indent=1) + "\n")
            f.flush()
            os.fsync(f.fileno())
        os.replace(fresh, path)
    except OSError as e:
        raise OptionError(f"{path}: expected a file that can be written; found: {e.strerror}") from e


def time_text(seconds: float | None) -> str | None:
    """UTC in writing, to the second."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime(_TIME)


def time_of(text: Any) -> float | None:
    """Seconds since 1970. OptionError."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, TypeError) as e:
        raise OptionError(f"time: expected UTC as 2026-11-22T03:38:41Z, or null; found {str(text)[:40]!r}") from e
