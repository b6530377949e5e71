"""What HTTP and gRPC have in common: an address, TLS, and how a failure is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgerun.device.message import Reply, Tensor
from edgerun.errors import OptionError

SAME, NEW, NEVER = "same", "new", "never"
"""What may be done after a failure: send the same envelope once more (no answer came; if there is one by now, it is given), send the
work under a new number (an answer came, and it was no), or nothing: it would be refused again."""
_LATER = {"rate", "overload", "draining", "not_ready", "store", "slow", "deadline", "fault", "internal", "replay", "replay_old", "clock"}
ANSWER_MOST = 16 << 20
"""Bytes of an answer, unless told otherwise."""


class Trouble(Exception):
    """An attempt without an answer. reason: unreachable, timeout, tls, bad_answer, or refused:<the server's reason>; retry_after: seconds
    that the server asks for."""

    def __init__(self, reason: str, again: str, detail: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.again, self.detail, self.retry_after = reason, again, detail[:300], retry_after


def refused(reason: str, detail: str = "", retry_after: float = 0.0) -> Trouble:
    """Of a server's reason, see `edgerun.serve.status.REASONS`."""
    return Trouble(f"refused:{reason}", NEW if reason in _LATER else NEVER, detail, retry_after)


@dataclass(frozen=True)
class Tls:
    """PEM files. ca: who vouches for the server (None: the system's); cert, key: our own, where the server asks for one."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Address:
    """Of "https://host:8000" or "grpcs://host:8001" (grpc://, http:// without TLS)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, insecure: bool) -> Address:
        """OptionError: not an address, or one without TLS beyond this machine and not `insecure`."""
        try:
            parts = urlsplit(text)
            port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 8001)
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise OptionError(f"server: expected https://HOST:PORT or grpcs://HOST:PORT; found {text!r}")
        found = cls(parts.scheme, parts.hostname, port)
        if not (found.tls or insecure or _is_loopback(found.host)):
            raise OptionError(f"server: expected {parts.scheme}s://…, as on the way anybody could read the features and change answers; "
                              f"found {text!r}; allow it with insecure=True (--insecure) where the network is trusted")
        return found

    @property
    def tls(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Transport(Protocol):
    """One way to one model of one server; threads may share it. method, target: what the envelope's signature covers."""

    method: str
    target: str

    def encode(self, work: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
        """(body, headers that go with it). work: id of the request, which the server writes into its log."""

    def send(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[Reply, Mapping[str, str]]:
        """(answer, its headers by lower-case name). Raises Trouble, BadAnswer."""

    def close(self) -> None: ...


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
