"""Listens for HTTP with uvicorn's protocol, and bounds what it leaves open: connections, time for the TLS handshake and for the header,
number of chunks. uvicorn parses (h11) and runs the application; the sockets are ours, so that a server can live in anybody's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from edgerun.errors import OptionError
from edgerun.serve.settings import ServeLimits

try:
    import h11
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.server import ServerState
except ImportError as e:
    raise OptionError("HTTP: expected the packages uvicorn and h11; found none: pip install 'edgerun[serve]'") from e

CHUNKS = 16_384
"""Chunks of one body, at most."""
_log = logging.getLogger("edgerun.serve.http")
_log.setLevel(logging.ERROR)  # uvicorn warns of every malformed request; these are events here
OnReject = Callable[[str], None]
"""Called with the reason for a connection that was refused before there was a request."""


class _Connection(h11.Connection):
    """h11's, which counts chunks: a body of one-byte chunks costs a thousand times its size in work."""

    chunks = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_start:
            self.chunks += 1
            if self.chunks > CHUNKS:
                raise h11.RemoteProtocolError("too many chunks", error_status_hint=413)
        return event


class _Joined:
    """A transport that sends what is written in one turn of the event loop at once: head and body of an answer are one packet, not two."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H11Protocol):
    """One connection. The peer's certificate name goes to the application as state "edgerun_peer"."""

    def __init__(self, config: uvicorn.Config, state: ServerState, limits: ServeLimits, on_reject: OnReject, tls: bool) -> None:
        super().__init__(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())
        self.conn = _Connection(h11.SERVER, limits.header)
        self.logger, self.limits, self.on_reject = _log, limits, on_reject
        self._made = False
        self._timer: asyncio.TimerHandle | None = None
        if tls:  # nobody tells a protocol that the handshake failed
            self._timer = self.loop.call_later(limits.header_s + 0.5, self._no_handshake)

    def _no_handshake(self) -> None:
        if not self._made:
            self.on_reject("tls")

    def connection_made(self, transport: Any) -> None:
        self._made = True
        super().connection_made(transport)
        self.transport = _Joined(transport, self.loop)  # type: ignore[assignment]
        if len(self.connections) > self.limits.connections:
            self.on_reject("overload")
            transport.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            transport.close()
            return
        tls = transport.get_extra_info("ssl_object")
        self.app_state = {"edgerun_peer": common_name(tls)} if tls is not None else {}
        self._watch(restart=True)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        ended = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0] and not self.transport.is_closing()
        if ended and self.cycle is not None and self.cycle.response_complete:
            self._unset_keepalive_if_required()  # the rest of a body whose answer was given before has come
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._watch()

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        self._watch()

    def _watch(self, restart: bool = False) -> None:
        """A timer runs while a header is incomplete, or a body that was refused. Between messages uvicorn's own timer closes the
        connection."""
        between = self.cycle is not None and not self.conn.trailing_data[0]
        unread = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        waiting = (unread or (self.conn.their_state is h11.IDLE and not between)) and not self.transport.is_closing()
        if self._timer is not None and (restart or not waiting):
            self._timer.cancel()
            self._timer = None
        if waiting and self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_s, self._late)

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0] and self.conn.their_state is h11.IDLE:
            self.on_reject("slow")
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """For what h11 cannot read. Where a message is under way the application learns that it ended, and the event is its own."""
        hint = getattr(sys.exc_info()[1], "error_status_hint", 400)
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not under_way:
            self.on_reject("headers_too_large" if hint == 431 else "bad_http")
        text = {431: "431 Request Header Fields Too Large", 413: "413 Content Too Large"}.get(hint, "400 Bad Request")
        if not under_way or not self.cycle.response_started:
            self.transport.write(f"HTTP/1.1 {text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        self.transport.close()


def common_name(tls: Any) -> str:
    """Of the peer's certificate; "" where it showed none."""
    found = tls.getpeercert() or {}
    return next((value for rdn in found.get("subject", ()) for key, value in rdn if key == "commonName"), "")


class Listener:
    """An ASGI application on one socket of the running event loop."""

    def __init__(self, app: Any, limits: ServeLimits, on_reject: OnReject) -> None:
        self._config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False, date_header=False,
                                      proxy_headers=False, ws="none", timeout_keep_alive=int(limits.idle_s) or 1)
        self._config.load()
        self._state = ServerState()
        self._limits, self._on_reject = limits, on_reject
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """OptionError where the address cannot be had."""
        try:
            sock = _bound(host, port)
        except OSError as e:
            raise OptionError(f"HTTP: expected to listen on {host}:{port}; found: {e.strerror or e}; choose another port "
                              "(--http-port, --metrics-port; 0: any free one)") from e
        self.port = sock.getsockname()[1]
        times: dict[str, Any] = {} if context is None else {"ssl_handshake_timeout": self._limits.header_s, "ssl_shutdown_timeout": 2.0}
        if sys.version_info < (3, 11):
            times.pop("ssl_shutdown_timeout", None)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(self._config, self._state, self._limits, self._on_reject, context is not None), sock=sock, ssl=context,
            backlog=512, **times)

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    async def stop(self) -> None:
        """No new connections; those without a message are closed, answers under way are finished by the application's own bounds."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            with contextlib.suppress(h11.LocalProtocolError):  # one that sent nonsense, and is being closed
                connection.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(set(self._state.tasks), timeout=1.0)
            for task in late:
                task.cancel()
        for connection in list(self._state.connections):
            connection.transport.close()
        self._server = None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
