"""Who may speak: the one question that the transports ask before they parse anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgerun.errors import Refused

ENVELOPE = "edgerun-envelope"
"""Header (HTTP) and metadata key (gRPC) that carries an envelope."""
Body = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Principal:
    """Who a message is from, and what the envelope binds it to. key, model, sent_ms: None without an envelope. digest: 64 hex, SHA-256
    of the body as received; "" without an envelope, as nothing is bound to it then."""

    device: str
    key: str | None = None
    epoch: int = 0
    seq: int = 0
    model: str | None = None
    sent_ms: int | None = None
    digest: str = ""
    repeated: bool = False
    """The signature holds, but the sequence number was used before (verdict "replayed"): nothing may run. The server looks among its stored
    answers for one to the same device, key, epoch, seq and digest, and refuses with "replay" where there is none."""


class Gate(Protocol):
    """Asked once a message, with its whole body, before it is parsed."""

    async def admit(self, header: str | None, body: Body, method: str, target: str, peer: str) -> Principal:
        """header: the text of the envelope, None where there is none. method, target: "POST" and the path, or "GRPC" and the full name of
        the method. peer: the certificate's common name, "" without one. Raises Refused."""
        ...


class OpenGate:
    """Admits everything, as device `peer` or "anonymous": for loopback trials, and where mutual TLS says enough."""

    async def admit(self, header: str | None, body: Body, method: str, target: str, peer: str) -> Principal:
        return Principal(peer or "anonymous")


__all__ = ["ENVELOPE", "Body", "Gate", "OpenGate", "Principal", "Refused"]
