"""Where a server keeps what it must not forget: used sequence numbers and the keys of devices. A path is a file of this machine (SQLite,
JSON); a redis:// address is shared by any number of servers. docs/security.md says what survives what."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgerun.splits.replay import ReplayStore
from edgerun.splits.ring import Entry, KeyRing, write_ring

SCHEMES = ("redis://", "rediss://", "unix://")


class KeySource(Protocol):
    """The ring that a gate asks."""

    async def public(self, device: str, key: str) -> bytes:
        """The raw public key (32 bytes), valid now. KeyRefused; StoreError where nobody can tell."""

    async def close(self) -> None:
        """Nothing is asked any more."""


class RingAdmin(Protocol):
    """The ring that `edgerun keys` changes."""

    def entries(self) -> Sequence[Entry]: ...

    def put(self, *changed: Entry) -> None: ...


class FileKeys:
    """The ring of a file, as a KeySource."""

    def __init__(self, path: str | Path) -> None:
        self.ring = KeyRing(path)

    async def public(self, device: str, key: str) -> bytes:
        return self.ring.find(device, key, time.time())

    async def close(self) -> None:
        pass


def is_redis(where: str | Path) -> bool:
    """Whether `where` is an address of Redis rather than a path."""
    return str(where).startswith(SCHEMES)


def open_keys(where: str | Path) -> KeySource:
    """The ring at a path or a redis:// address. OptionError where the file is none."""
    if is_redis(where):
        from edgerun.serve.stores.redis import RedisKeys

        return RedisKeys(str(where))
    return FileKeys(where)


def open_ring(where: str | Path, create: bool = False) -> RingAdmin:
    """The same ring, for changing it. create: an empty one where there is no file yet."""
    if is_redis(where):
        from edgerun.serve.stores.redis import RedisRing

        return RedisRing(str(where))
    if create and not Path(where).exists():
        write_ring(Path(where), [])
    return KeyRing(where)


def open_replay(where: str | Path, power_safe: bool = False) -> ReplayStore:
    """Used sequence numbers, in a file of SQLite or at a redis:// address. power_safe: of the file, see SqliteReplay."""
    if is_redis(where):
        from edgerun.serve.stores.redis import RedisReplay

        return RedisReplay(str(where))
    from edgerun.serve.stores.sqlite import SqliteReplay

    return SqliteReplay(where, power_safe)
