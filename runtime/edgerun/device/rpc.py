"""The protocol over gRPC. Requests are bytes here, too: what was signed is what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgerun.device.message import Reply, Tensor, from_grpc, to_grpc
from edgerun.device.transport import ANSWER_MOST, NEVER, SAME, Address, Tls, Trouble, refused
from edgerun.errors import OptionError
from edgerun.splits.oip_messages import SERVICE

CONNECT_MS = 10_000
"""For connection and handshake: what gRPC calls the least pause between two attempts is the time that an attempt has. On a slow radio the
handshake takes seconds."""


class Rpc:
    """One channel, which threads share."""

    method = "GRPC"
    target = f"/{SERVICE}/ModelInfer"

    def __init__(self, address: Address, model: str, version: str = "", tls: Tls | None = None, *, answer_most: int = ANSWER_MOST) -> None:
        try:
            import grpc
        except ImportError as e:
            raise OptionError("gRPC: expected the package grpcio; found none; pip install 'edgerun[device]'") from e
        self._grpc, self._model, self._version = grpc, model, version
        options = [("grpc.max_receive_message_length", answer_most), ("grpc.max_send_message_length", -1),
                   ("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
                   ("grpc.max_reconnect_backoff_ms", 1000)]  # the breaker holds back; gRPC's own pauses come on top
        if address.tls:
            files = tls or Tls()
            credentials = grpc.ssl_channel_credentials(*(_read(f) for f in (files.ca, files.key, files.cert)))
            self._channel = grpc.secure_channel(address.authority, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address.authority, options)
        self._call = self._channel.unary_unary(self.target)

    def encode(self, work: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
        return to_grpc(self._model, self._version, work, tensors, parameters), {}

    def send(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[Reply, Mapping[str, str]]:
        try:
            found, call = self._call.with_call(body, timeout=timeout_s, metadata=tuple(headers.items()))
        except self._grpc.RpcError as e:
            raise self._trouble(e, timeout_s) from e
        return from_grpc(found), _texts(call.trailing_metadata())

    def _trouble(self, e: Any, timeout_s: float) -> Trouble:
        told = _texts(e.trailing_metadata())
        after = told.get("retry-after", "")
        if reason := told.get("edgerun-reason"):
            return refused(reason, e.details() or "", int(after) if after.isdecimal() else 0)
        code, detail = e.code(), e.details() or ""
        if code == self._grpc.StatusCode.DEADLINE_EXCEEDED:
            return Trouble("timeout", SAME, f"none within {timeout_s:.3g} s")
        if code in (self._grpc.StatusCode.UNAVAILABLE, self._grpc.StatusCode.CANCELLED, self._grpc.StatusCode.UNKNOWN):
            handshake = any(word in detail for word in ("CERTIFICATE_VERIFY_FAILED", "Handshake", "SSL_ERROR", "Peer name"))
            return Trouble("tls", NEVER, detail) if handshake else Trouble("unreachable", SAME, detail)
        return Trouble(f"refused:grpc_{code.name.lower()}", NEVER, detail)

    def close(self) -> None:
        self._channel.close()


def _texts(metadata: Any) -> dict[str, str]:
    return {k: v for k, v in metadata or () if isinstance(v, str)}


def _read(path: str | None) -> bytes | None:
    try:
        if path is None:
            return None
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise OptionError(f"TLS: expected a PEM file; found {path}: {e.strerror}") from e
