"""Keys and used sequence numbers in Redis, for any number of servers. A window moves in one script, so that of two servers one gets FRESH.

Hash edgerun:keys               "<device>/<key id>" -> the entry of the ring, in JSON
Hash edgerun:replay:<device>/<key id>   epoch, hi and lo (top = hi 2^32 + lo), bits: 1024 of them in a ring, that of seq at seq mod 1024

Needs the extra `redis`. Nothing expires: a window that is forgotten lets old messages in.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Sequence
from typing import Any

from edgerun.errors import OptionError, StoreError
from edgerun.splits.replay import SIZE, Verdict
from edgerun.splits.ring import Entry, known, valid

KEYS = "edgerun:keys"
REPLAY = "edgerun:replay:"
WAIT_S = 2.0

# Lua 5.1 counts in doubles: a seq of 64 bits comes in two halves. A difference is exact below 2^53, and beyond any window above.
ACCEPT = """
local epoch, hi, lo, size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local old = redis.call('HMGET', KEYS[1], 'epoch', 'hi', 'lo', 'bits')
local bits, ahead = nil, size
if old[1] then
  if epoch < tonumber(old[1]) then return 'epoch_rollback' end
  if epoch == tonumber(old[1]) then
    ahead = (hi - tonumber(old[2])) * 4294967296 + (lo - tonumber(old[3]))
    bits = {string.byte(old[4], 1, -1)}
  end
end
if ahead <= -size then return 'too_old' end
if bits == nil or ahead >= size then
  bits = {}
  for i = 1, size / 8 do bits[i] = 0 end
end
local function place(seq)
  local at = seq % size
  return math.floor(at / 8) + 1, 2 ^ (at % 8)
end
local function has(i, bit) return math.floor(bits[i] / bit) % 2 == 1 end
if ahead > 0 and ahead < size then
  for k = 1, ahead - 1 do
    local i, bit = place(tonumber(old[3]) + k)
    if has(i, bit) then bits[i] = bits[i] - bit end
  end
end
local i, bit = place(lo)
if ahead <= 0 then
  if has(i, bit) then return 'replayed' end
  bits[i] = bits[i] + bit
  redis.call('HSET', KEYS[1], 'bits', string.char(unpack(bits)))
else
  if not has(i, bit) then bits[i] = bits[i] + bit end
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'hi', ARGV[2], 'lo', ARGV[3], 'bits', string.char(unpack(bits)))
end
return 'fresh'
"""


class RedisReplay:
    """A ReplayStore at a redis:// address; of one event loop. The connection is made at the first question."""

    def __init__(self, url: str) -> None:
        self._redis = _client("redis.asyncio", url)
        self._script = self._redis.register_script(ACCEPT)

    async def accept(self, device: str, key: str, epoch: int, seq: int) -> Verdict:
        """StoreError where Redis does not answer."""
        try:
            word = await self._script(keys=[f"{REPLAY}{device}/{key}"], args=[epoch, seq >> 32, seq & 0xFFFFFFFF, SIZE])
            return Verdict(word.decode())
        except (_errors(), OSError, ValueError) as e:
            raise StoreError(f"replay store: expected an answer of Redis; found: {e}") from e

    async def close(self) -> None:
        await self._redis.aclose()


class RedisKeys:
    """A KeySource at a redis:// address: asked for each message, so that a revocation holds at once on every server."""

    def __init__(self, url: str) -> None:
        self._redis = _client("redis.asyncio", url)

    async def public(self, device: str, key: str) -> bytes:
        try:
            raw = await self._redis.hget(KEYS, f"{device}/{key}")
            entry = None if raw is None else Entry.from_json(json.loads(raw))
        except (_errors(), OSError, ValueError) as e:
            raise StoreError(f"keys: expected an answer of Redis; found: {e}") from e
        return valid(known(entry if entry and (entry.device, entry.id) == (device, key) else None, device, key), time.time())

    async def close(self) -> None:
        await self._redis.aclose()


class RedisRing:
    """The same ring, for `edgerun keys`."""

    def __init__(self, url: str) -> None:
        self._redis = _client("redis", url)

    def entries(self) -> Sequence[Entry]:
        """All, by device and id. StoreError."""
        try:
            found = self._redis.hgetall(KEYS)
            return [Entry.from_json(json.loads(found[k])) for k in sorted(found)]
        except (_errors(), OSError, ValueError) as e:
            raise StoreError(f"keys: expected the ring in Redis; found: {e}") from e

    def put(self, *changed: Entry) -> None:
        """Add or replace keys, all at once. StoreError."""
        try:
            self._redis.hset(KEYS, mapping={f"{e.device}/{e.id}": json.dumps(e.to_json()) for e in changed})
        except (_errors(), OSError) as e:
            raise StoreError(f"keys: expected Redis to take the key; found: {e}") from e


def _client(module: str, url: str) -> Any:
    try:
        redis = importlib.import_module(module)
    except ImportError as e:
        raise OptionError("redis://…: expected the package redis; found none; run: pip install 'edgerun[redis]'") from e
    try:
        return redis.from_url(url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S)
    except ValueError as e:
        raise OptionError(f"expected redis://host:port/number; found an address that Redis' client does not take: {e}") from e


def _errors() -> Any:
    return importlib.import_module("redis").RedisError
