"""What stands beside a message: who sent it, its number, for which model, the digest of its body, and a signature over all of that.

One line of ASCII, the header `edgerun-envelope` of HTTP and the metadata entry of the same name of gRPC:

    v=1;device=cam-1;key=<16 hex>;epoch=7;seq=42;model=<64 hex>;sent=1790000000000;digest=<64 hex>;sig=<86 base64url>

The fields stand in this order, and each has one spelling only (no leading zeros, lower-case hex), so a message has one envelope. Signed
are the bytes up to and with the digest, behind "edgerun-split/1\\n<method>\\n<target>\\n": a message cannot be carried to another place.
The body is hashed as it travels, and so is checked before it is parsed. docs/security.md has a worked example.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgerun.errors import InputError, OptionError
from edgerun.splits.keys import DeviceKey, check_device
from edgerun.splits.replay import MAX_EPOCH, MAX_SEQ

HEADER = "edgerun-envelope"
ANSWER = "edgerun-answer"
CONTEXT = "edgerun-split/1"
LONGEST = 512
"""Characters; a longer header is refused unread."""
GRPC = "GRPC"
"""The method of messages by gRPC; their target is the full name of the call."""

_NUMBER = "0|[1-9][0-9]{0,19}"
_LINE = re.compile(rf"v=1;device=([A-Za-z0-9._-]{{1,64}});key=([0-9a-f]{{16}});epoch=({_NUMBER});seq=({_NUMBER});model=([0-9a-f]{{64}});"
                   rf"sent=({_NUMBER});digest=([0-9a-f]{{64}});sig=([A-Za-z0-9_-]{{86}})", re.ASCII)
_ANSWER = re.compile(rf"device=([A-Za-z0-9._-]{{1,64}});epoch=({_NUMBER});seq=({_NUMBER});digest=([0-9a-f]{{64}})", re.ASCII)


@dataclass(frozen=True)
class Envelope:
    """key: id of the public key; model: SHA-256 (hex) of the file that is to run; sent: milliseconds since 1970, 0 from a device without
    a clock; digest: SHA-256 (hex) of the body; sig: 64 bytes of Ed25519, empty before signing."""

    device: str
    key: str
    epoch: int
    seq: int
    model: str
    sent: int
    digest: str
    sig: bytes = b""

    def unsigned(self) -> str:
        """The line up to and with the digest."""
        return (f"v=1;device={self.device};key={self.key};epoch={self.epoch};seq={self.seq};model={self.model};sent={self.sent};"
                f"digest={self.digest}")

    def format(self) -> str:
        """The whole line."""
        return f"{self.unsigned()};sig={base64.urlsafe_b64encode(self.sig).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str) -> Envelope:
        """InputError, without what was found in it, for everything that `format` would not write."""
        found = _LINE.fullmatch(text) if len(text) <= LONGEST else None
        if found is None:
            raise InputError(f"{HEADER}: expected v=1;device=…;key=…;epoch=…;seq=…;model=…;sent=…;digest=…;sig=…, in this order, "
                             f"at most {LONGEST} characters; found something else")
        device, key, epoch, seq, model, sent, digest, sig = found.groups()
        envelope = cls(device, key, int(epoch), int(seq), model, int(sent), digest, base64.urlsafe_b64decode(sig + "=="))
        if envelope.epoch > MAX_EPOCH or envelope.seq > MAX_SEQ or envelope.sent > MAX_SEQ or not text.endswith(envelope.format()[-86:]):
            raise InputError(f"{HEADER}: expected epoch < 2^32, seq and sent < 2^64, and a signature of 64 bytes; found another value")
        return envelope

    def signed_bytes(self, method: str, target: str) -> bytes:
        """What the signature covers. method and target: "POST" and the path, or GRPC and the full name of the call."""
        return f"{CONTEXT}\n{method}\n{target}\n{self.unsigned()}".encode()


def digest_of(body: bytes | bytearray | memoryview) -> str:
    """SHA-256 of a body as it travels, in hex."""
    return hashlib.sha256(body).hexdigest()


def answer_line(device: str, epoch: int, seq: int, digest: str) -> str:
    """The header `edgerun-answer`: which message this is the answer to."""
    return f"device={device};epoch={epoch};seq={seq};digest={digest}"


def parse_answer(line: str) -> tuple[str, int, int, str]:
    """(device, epoch, seq, digest) of an answer. InputError for anything else."""
    found = _ANSWER.fullmatch(line) if len(line) <= LONGEST else None
    if found is None:
        raise InputError(f"{ANSWER}: expected device=…;epoch=…;seq=…;digest=…; found something else; is the server of this version?")
    return found[1], int(found[2]), int(found[3]), found[4]


class Signer:
    """Numbers and signs the messages of one start of a device; threads may share it.

    epoch: of this start (`edgerun.splits.replay.next_epoch`). clock: seconds since 1970; None for a device that has none, which a server
    with a bound on age refuses.
    """

    def __init__(self, device: str, key: DeviceKey, epoch: int, *, clock: Callable[[], float] | None = time.time) -> None:
        if not 0 <= epoch <= MAX_EPOCH:
            raise OptionError(f"epoch: expected 0 to 2^32-1; found {epoch}")
        self.device, self.key, self.epoch = check_device(device), key, epoch
        self._clock, self._next, self._lock = clock, 0, threading.Lock()

    def seal(self, body: bytes | bytearray | memoryview, model: str, method: str, target: str) -> Envelope:
        """The signed envelope of a body, with a number that was never used. model: SHA-256 of the file that is to run."""
        with self._lock:
            seq, self._next = self._next, self._next + 1
        if seq > MAX_SEQ:
            raise OptionError("seq: expected less than 2^64 messages in an epoch; start the device again")
        sent = int(self._clock() * 1000) if self._clock else 0
        return seal(self.key, self.device, self.epoch, seq, model, sent, body, method, target)


def seal(key: DeviceKey, device: str, epoch: int, seq: int, model: str, sent: int,
         body: bytes | bytearray | memoryview, method: str, target: str) -> Envelope:
    """A signed envelope of given numbers (Signer counts them)."""
    fields: dict[str, Any] = {"device": device, "key": key.id, "epoch": epoch, "seq": seq, "model": model, "sent": sent,
                              "digest": digest_of(body)}
    return Envelope(**fields, sig=key.sign(Envelope(**fields).signed_bytes(method, target)))
