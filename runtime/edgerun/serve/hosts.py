"""Whom a browser on this machine speaks for: the Host of its request.

Over plain HTTP a peer on this machine is trusted for being here. A browser here is such a peer, also for a page from elsewhere whose name
its owner has turned to 127.0.0.1 meanwhile (DNS rebinding): for the browser that page and this server are then of one origin, and it may
read all that we answer. The Host field still has the page's name, which is how to tell. gRPC has no browsers (HTTP/2 without TLS), and over
TLS the certificate does not have that name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from edgerun.errors import OptionError, Refused
from edgerun.serve.http import Receive, Scope, Send, is_local, refusal, send_reply

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


class Hosts:
    """An ASGI application in front of another: a local peer over plain HTTP has to name this machine, else 421 with reason "host".

    allowed: names beside localhost and loopback addresses, as of a proxy on this machine that hands its own Host on; "*": any.
    on_reject: called with the reason. OptionError for names that are none."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Any], allowed: Iterable[str], on_reject: Callable[[str], object]) -> None:
        self._app, self._on_reject = app, on_reject
        self._allowed = {"localhost", *(_checked(name) for name in allowed)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("scheme") != "https" and is_local(scope) and not self.allows(_host_of(scope)):
            self._on_reject("host")
            refused = Refused("host", "expected localhost in the Host of the request; the server's --allowed-host permits others")
            await send_reply(send, refusal(refused, ""), close=True)
            return
        await self._app(scope, receive, send)

    def allows(self, host: str | None) -> bool:
        """Whether a Host field names this machine. None, no field: yes, browsers always send one."""
        if host is None or "*" in self._allowed:
            return True
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].lower().rstrip(".")
        try:
            return name in self._allowed or ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False


def _host_of(scope: Scope) -> str | None:
    found = [v.decode("latin-1") for k, v in scope["headers"] if k.lower() == b"host"]
    return found[0] if len(found) == 1 else ",".join(found) or None


def _checked(name: str) -> str:
    if name != "*" and (_HOST.fullmatch(name) is None or (":" in name and not name.startswith("["))):
        raise OptionError(f"allowed host: expected a name or an address without scheme and port, as plant.example, or *; found {name!r}")
    return name.lower().rstrip(".")


__all__ = ["Hosts"]
