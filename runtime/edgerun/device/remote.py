"""A model of a server, asked as if it were here: signed, within a deadline, again where that can help, and not at all for a while where it
does not. `Device` asks the tail through it; by itself it sends whole inputs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgerun.device.breaker import Backoff, Breaker
from edgerun.device.http import Http
from edgerun.device.message import BadAnswer, Reply, Tensor
from edgerun.device.rpc import Rpc
from edgerun.device.transport import NEVER, NEW, SAME, Address, Tls, Transport, Trouble
from edgerun.errors import OffloadError, OptionError
from edgerun.splits.envelope import ANSWER, HEADER, Envelope, Signer, answer_line

_OF_THE_INPUT = {f"refused:{r}" for r in (
    "attack", "nonfinite", "shape", "size", "encoding", "input", "datatype", "too_large", "fault", "replay", "clock")}
"""Refusals that say nothing about the next message: the server answers."""


@dataclass(frozen=True)
class Asked:
    """outputs, parameters: see `Reply`. attempts: messages that were sent for it; ms: all of it, waits included."""

    reply: Reply
    attempts: int
    ms: float


class Remote:
    """server: https://HOST:PORT or grpcs://HOST:PORT. model: its name there (version: "" for the latest).

    signer      numbers and signs the messages; None: nothing is signed, and the server knows us by our certificate, or not at all
    sha256      of the file that is to run; needed with a signer
    timeout_s   for an answer, all attempts together
    retries     attempts after the first. Where no answer came the *same* envelope is sent, so a server that has the answer gives it and
                computes nothing twice; where it said "later" the work goes under a new number
    insecure    allow http:// and grpc:// beyond this machine

    Threads may share it. OptionError for settings that are not legal.
    """

    def __init__(self, server: str, model: str, *, version: str = "", signer: Signer | None = None, sha256: str = "",
                 tls: Tls | None = None, timeout_s: float = 5.0, retries: int = 2, backoff: Backoff | None = None,
                 breaker: Breaker | None = None, insecure: bool = False) -> None:
        if not timeout_s > 0 or retries < 0:
            raise OptionError(f"server: expected a timeout above 0 s and 0 or more retries; found {timeout_s} and {retries}")
        if signer is not None and len(sha256) != 64:
            raise OptionError("server: expected the SHA-256 of the model that is to run, which a signed message is for; found none")
        self.address = Address.parse(server, insecure)
        kind = Rpc if self.address.scheme.startswith("grpc") else Http
        self._transport: Transport = kind(self.address, model, version, tls)
        self._signer, self._sha256 = signer, sha256
        self._timeout, self._retries = timeout_s, retries
        self._last = ""
        self._backoff, self.breaker = backoff or Backoff(), breaker or Breaker()

    def ask(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any] | None = None, timeout_s: float | None = None) -> Asked:
        """The answer. Raises OffloadError, whose `reason` says why there is none: unreachable, timeout, tls, bad_answer, circuit_open, or
        refused:<the server's reason>."""
        if not self.breaker.allow():
            raise OffloadError("circuit_open", f"the last calls failed ({self._last}); the server is asked again after a pause")
        ok = False
        try:
            found = self._ask(tensors, parameters or {}, self._timeout if timeout_s is None else timeout_s)
            ok = True
            return found
        except Trouble as e:
            ok, self._last = e.reason in _OF_THE_INPUT, e.reason
            raise OffloadError(e.reason, e.detail) from e
        finally:
            self.breaker.ended(ok)

    def _ask(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any], timeout_s: float) -> Asked:
        started = time.monotonic()
        end = started + timeout_s
        body, headers = self._transport.encode(secrets.token_hex(8), tensors, {**parameters, "timeout": int(timeout_s * 1e6)})
        envelope = self._seal(body)
        for attempt in range(self._retries + 1):
            try:
                reply = self._attempt(body, headers, envelope, end - time.monotonic())
                return Asked(reply, attempt + 1, 1e3 * (time.monotonic() - started))
            except Trouble as e:
                wait = max(self._backoff.wait(attempt), e.retry_after)
                if e.again == NEVER or attempt == self._retries or time.monotonic() + wait >= end:
                    raise
                if e.again == NEW:
                    envelope = self._seal(body)
            time.sleep(wait)
        raise AssertionError("unreachable")

    def _seal(self, body: bytes) -> Envelope | None:
        if self._signer is None:
            return None
        return self._signer.seal(body, self._sha256, self._transport.method, self._transport.target)

    def _attempt(self, body: bytes, headers: Mapping[str, str], envelope: Envelope | None, timeout_s: float) -> Reply:
        if timeout_s <= 0:
            raise Trouble("timeout", NEVER)
        try:
            if envelope is None:
                return self._transport.send(body, headers, timeout_s)[0]
            reply, told = self._transport.send(body, {**headers, HEADER: envelope.format()}, timeout_s)
        except BadAnswer as e:
            raise Trouble("bad_answer", SAME, str(e)) from e
        if told.get(ANSWER) != answer_line(envelope.device, envelope.epoch, envelope.seq, envelope.digest):
            raise Trouble("bad_answer", NEVER, f"{ANSWER} does not name this message; does the server check envelopes?")
        return reply

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
