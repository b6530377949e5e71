"""The gate with keys: every message carries an envelope, and is refused here, unparsed, unless all of it holds.

In this order: envelope there and well formed -> certificate of this device -> key known and valid -> signature -> digest of the body ->
age -> number not used before. The number is looked up last, so that what is not authenticated cannot use one up.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from pathlib import Path

from edgerun.errors import InputError, OptionError, Refused, StoreError
from edgerun.serve.gate import Body, Principal
from edgerun.serve.stores import KeySource, is_redis, open_keys, open_replay
from edgerun.splits.envelope import Envelope, digest_of
from edgerun.splits.keys import verified
from edgerun.splits.replay import ReplayStore, Verdict
from edgerun.splits.ring import KeyRefused

LONG_BODY = 1 << 18
"""Bytes from which on a body is hashed in another thread: more than half a millisecond would hold up the others."""
_REASONS = {"key_unknown": "key_unknown", "key_revoked": "key_revoked", "key_expired": "key_time", "key_not_yet_valid": "key_time"}
_DETAILS = {
    "key_unknown": "no such key of this device", "key_revoked": "this key is revoked", "key_time": "this key is not valid now",
    Verdict.TOO_OLD: "the sequence number is too far behind; send again with a new one",
    Verdict.EPOCH_ROLLBACK: "this device has used a later epoch; its counter of starts was lost, and it needs a new key",
}


def open_gate(keys: str | Path, replay: str | Path | None = None, *, max_age_s: float | None = None, bind_certificate: bool = False,
              power_safe: bool = False) -> KeyGate:
    """A gate over the ring at a path or redis:// address. replay: the store of used numbers, a path or a redis:// address; None:
    replay.db beside the ring, or the same Redis. The rest is that of KeyGate and SqliteReplay. The caller closes it, after the server.
    OptionError."""
    if replay is None:
        replay = keys if is_redis(keys) else Path(keys).with_name("replay.db")
    return KeyGate(open_keys(keys), open_replay(replay, power_safe), max_age_s=max_age_s, bind_certificate=bind_certificate)


class KeyGate:
    """A Gate over a ring of keys and a store of used numbers.

    max_age_s: a message whose `sent` is further than this from the server's clock, either way, is refused, and so is one without a
    time; None: clocks do not matter. bind_certificate: the peer has to have a certificate with the device's name as its common name;
    without it who holds any certificate of the authority may bring messages, as a gateway does for many devices.
    """

    def __init__(self, keys: KeySource, replay: ReplayStore, *, max_age_s: float | None = None, bind_certificate: bool = False,
                 clock: Callable[[], float] = time.time) -> None:
        if max_age_s is not None and not max_age_s > 0:
            raise OptionError(f"max_age_s: expected a time above 0, or None; found {max_age_s}")
        self._keys, self._replay = keys, replay
        self._max_age_s, self._bind, self._clock = max_age_s, bind_certificate, clock

    async def admit(self, header: str | None, body: Body, method: str, target: str, peer: str) -> Principal:
        """As Gate.admit. A used number with everything else in order is a Principal with repeated: the server may have its answer still."""
        envelope = self._read(header)
        if self._bind and peer != envelope.device:
            raise Refused("certificate", "the certificate is not that of the device in the envelope")
        await self._authentic(envelope, body, method, target)
        if self._max_age_s is not None and abs(self._clock() - envelope.sent / 1000) > self._max_age_s:
            raise Refused("clock", "the time of sending is too far from the server's clock")
        return Principal(envelope.device, envelope.key, envelope.epoch, envelope.seq, envelope.model, envelope.sent or None,
                         envelope.digest, repeated=not await self._fresh(envelope))

    async def close(self) -> None:
        """Of the stores, too."""
        await self._keys.close()
        await self._replay.close()

    @staticmethod
    def _read(header: str | None) -> Envelope:
        if header is None:
            raise Refused("envelope_missing", "expected the header edgerun-envelope; see docs/security.md")
        try:
            return Envelope.parse(header)
        except InputError as e:
            raise Refused("envelope_syntax", "the header edgerun-envelope is not one; see docs/security.md") from e

    async def _authentic(self, envelope: Envelope, body: Body, method: str, target: str) -> None:
        try:
            public = await self._keys.public(envelope.device, envelope.key)
        except KeyRefused as e:
            reason = _REASONS[e.reason]
            raise Refused(reason, _DETAILS[reason]) from e
        except (StoreError, OptionError) as e:  # a ring that cannot be read lets nobody in
            raise Refused("store", "keys cannot be looked up; try again", retry_after=1) from e
        if not verified(public, envelope.sig, envelope.signed_bytes(method, target)):
            raise Refused("signature", "the signature is not that of this envelope at this place")
        digest = await asyncio.to_thread(digest_of, body) if len(body) >= LONG_BODY else digest_of(body)
        if not hmac.compare_digest(digest, envelope.digest):
            raise Refused("digest", "the body is not the one that was signed")

    async def _fresh(self, envelope: Envelope) -> bool:
        """Whether the number was not used; now it is."""
        try:
            verdict = await self._replay.accept(envelope.device, envelope.key, envelope.epoch, envelope.seq)
        except StoreError as e:
            raise Refused("store", "sequence numbers cannot be looked up; try again with a new one", retry_after=1) from e
        if verdict in (Verdict.TOO_OLD, Verdict.EPOCH_ROLLBACK):
            raise Refused("replay_old" if verdict is Verdict.TOO_OLD else "epoch", _DETAILS[verdict])
        return verdict is Verdict.FRESH
