"""The HTTP interface as a plain ASGI application: Open Inference Protocol v2, health, and pages that others add.

Nothing of a body is parsed before its size, its envelope and the device's rate were looked at. Refusals: `status.REASONS`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from edgerun.about import __version__
from edgerun.errors import Refused
from edgerun.serve import http_codec, openapi, status
from edgerun.serve.core import Core, Message
from edgerun.serve.gate import ENVELOPE
from edgerun.serve.oip import NAMES, InferRequest
from edgerun.serve.served import Served
from edgerun.splits.envelope import ANSWER, answer_line

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON_LENGTH = "inference-header-content-length"
LATER, SHORT = (429, 503), 256 << 10
"""Refusals after which the connection is kept, where a body has at most so many bytes: what has not arrived is read, and thrown away."""
HEALTH = ("/v2/health/live", "/v2/health/ready")
EXTENSIONS = ["binary_tensor_data", "edgerun_features", "edgerun_exits", "edgerun_checks", "edgerun_attack"]
_MODEL = re.compile(r"/v2/models/([^/]{1,64})(?:/versions/([^/]{1,64}))?(/ready|/infer)?")


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        return cls(code, json.dumps(value, allow_nan=False).encode(), headers=headers or {})


Page = Callable[[Scope], Awaitable[Reply]]
"""A route that others add, GET only; it is asked by trusted peers alone."""


class App:
    """Call it as an ASGI application, by itself or mounted in another. pages: path → Page. The protocol's state needs `Core.start`."""

    def __init__(self, core: Core, pages: Mapping[str, Page] | None = None) -> None:
        self.core, self.pages = core, dict(pages or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await _lifespan(receive, send)
                return
            raise RuntimeError(f"expected http; found {scope['type']}")  # websocket: the server answers 500 and closes
        path, method = _path(scope), scope["method"]
        found = _MODEL.fullmatch(path)
        infer = found if found is not None and found[3] == "/infer" else None
        try:
            if infer is not None and method == "POST":
                reply = await self._infer(scope, receive, unquote(infer[1]), unquote(infer[2] or ""))
            else:
                reply = await self._manage(scope, path, method)
        except Refused as e:
            reply = refusal(e, "POST" if infer else "GET, HEAD")
        again = reply.status in LATER and _is_short(scope)  # the sender will come again: a new connection would cost more than all the rest
        await send_reply(send, reply, close=(reply.status >= 400 and not again) or self.core.draining)  # not all of the body was read

    def _health(self, path: str) -> Reply:
        if path.endswith("live"):
            return Reply.of({"live": self.core.live}, 200 if self.core.live else 503)
        return Reply.of({"ready": self.core.ready}, 200 if self.core.ready else 503)

    # -- everything but inference -------------------------------------------------------------------------------------

    async def _manage(self, scope: Scope, path: str, method: str) -> Reply:
        """Refusals are events, answers are none: they would drown inference."""
        page, peer = self.pages.get(path), _peer(scope)
        try:
            model = None if page else self._health(path) if path in HEALTH else self._described(path)
            if method not in ("GET", "HEAD"):
                raise Refused("method", "expected GET or HEAD")
            if path not in HEALTH and not peer and not is_local(scope):
                await self.core.trust(_headers(scope).get(ENVELOPE), b"", method, _target(scope), peer)
            return await page(scope) if page else model  # type: ignore[return-value]
        except Refused as refused:
            with self.core.message("http", peer):
                raise refused

    def _described(self, path: str) -> Reply:
        """Refused("not_found" or "model_unknown")."""
        if path in ("/v2", "/v2/"):
            return Reply.of({"name": "edgerun", "version": __version__, "extensions": EXTENSIONS})
        if path == "/v2/openapi.json":
            return Reply.of(openapi.document([s.name for s in self.core.models]))
        found = _MODEL.fullmatch(path)
        if found is None:
            raise Refused("not_found", "no such route; /v2/openapi.json has them all")
        served = self.core.models.find(unquote(found[1]), unquote(found[2] or ""))
        if found[3] == "/infer":
            raise Refused("method", "expected POST")
        if found[3] == "/ready":
            ready = served.healthy and not self.core.draining
            return Reply.of({"name": served.name, "ready": ready}, 200 if ready else 503)
        return Reply.of(metadata(served, self.core.models.versions(served.name)))

    # -- inference ----------------------------------------------------------------------------------------------------

    async def _infer(self, scope: Scope, receive: Receive, name: str, version: str) -> Reply:
        core, headers = self.core, _headers(scope)
        with core.message("http", _peer(scope)) as m:
            served = core.models.find(name, version)
            m.model = served.name
            core.room(headers.get(ENVELOPE))
            json_length = _length(headers.get(JSON_LENGTH), JSON_LENGTH)
            size = sum(len(k) + len(v) for k, v in scope["headers"])
            if len(scope["headers"]) > core.limits.headers or size > core.limits.header:
                raise Refused("headers_too_large", f"expected at most {core.limits.headers} fields, {core.limits.header} bytes in all")
            if headers.get("content-encoding", "identity") != "identity":
                raise Refused("media", "expected a body that is not compressed")
            most = served.most_bytes(json=json_length is None)
            declared = _length(headers.get("content-length"), "content-length")
            if declared is not None and declared > most:
                if "expect" not in headers:  # else the sender waits for leave to send
                    await _discard(receive, most)
                raise Refused("too_large", f"expected at most {most} bytes; found {declared}")
            body = await read_body(receive, most, core.limits.body_s, m)
            who = await core.admit(m, headers.get(ENVELOPE), body, "POST", _target(scope))
            request = None

            def parse() -> tuple[Served, InferRequest]:
                nonlocal request
                core.intended(who, served)
                request = http_codec.decode(name, version, body, json_length, core.limits.depth)
                return served, request

            answer = await core.infer(m, who, parse)
            if request is None:  # a stored answer; the message asks for its form, too
                request = http_codec.decode(name, version, body, json_length, core.limits.depth)
            out, length = http_codec.encode(answer, request)
            m.bytes_out = len(out)
            extra = {} if who.key is None else {ANSWER: answer_line(who.device, who.epoch, who.seq, who.digest)}
            if length is not None:
                return Reply(200, out, "application/octet-stream", {**extra, "Inference-Header-Content-Length": str(length)})
            return Reply(200, out, headers=extra)


async def read_body(receive: Receive, most: int, seconds: float, m: Message) -> bytes:
    """The whole body. Refused: too_large, slow, bad_http where the peer went away."""
    chunks, total = [], 0
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            event = await asyncio.wait_for(receive(), max(0.0, end - asyncio.get_running_loop().time()))
        except (asyncio.TimeoutError, TimeoutError) as e:
            raise Refused("slow", f"expected the body within {seconds:g} s") from e
        if event["type"] == "http.disconnect":
            raise Refused("bad_http", "the connection ended within the body")
        chunk = event.get("body", b"")
        total += len(chunk)
        m.bytes_in = total
        if total > most:
            await _discard(receive, most)
            raise Refused("too_large", f"expected at most {most} bytes; found more")
        chunks.append(chunk)
        if not event.get("more_body", False):
            return b"".join(chunks) if len(chunks) != 1 else chunks[0]


async def _discard(receive: Receive, most: int) -> None:
    """Read some of what is not wanted: a socket closed with unread bytes is reset, and the sender would not see the answer."""
    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
        left = max(most, 1 << 20)
        while left > 0:
            event = await asyncio.wait_for(receive(), 0.5)
            left -= len(event.get("body", b"")) if event.get("more_body", False) else left


def metadata(served: Served, versions: list[str]) -> dict[str, Any]:
    """Of a model, as the protocol has it: -1 for dimensions that are not fixed; exits, labels and the file's digest as parameters."""
    def listed(tensors: Any) -> list[dict[str, Any]]:
        return [{"name": t.name, "datatype": NAMES[t.dtype], "shape": [d if isinstance(d, int) else -1 for d in t.shape]} for t in tensors]

    parameters: dict[str, Any] = {"sha256": served.sha256, "exit_policy": served.options.exit_policy, "checks": served.options.checks}
    if served.exits:
        parameters["exits"] = list(served.exits)
    if served.labels:
        parameters["labels"] = list(served.labels)
    if served.split:
        parameters |= {"split_of": served.split.model_sha256, "detector": bool(served.detectors)}
    return {"name": served.name, "versions": versions, "platform": "edgerun_onnx", "inputs": listed(served.inputs),
            "outputs": listed(served.outputs), "parameters": parameters}


def refusal(e: Refused, allow: str) -> Reply:
    """The answer for what is refused: {"error": …, "reason": …}. allow: methods of the route."""
    headers = {"Allow": allow} if e.reason == "method" else {}
    if e.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(e.retry_after)))
    return Reply.of({"error": e.detail, "reason": e.reason}, status.of(e.reason).http, headers)


async def send_reply(send: Send, reply: Reply, close: bool) -> None:
    headers = [(b"content-type", reply.content_type.encode()), (b"content-length", str(len(reply.body)).encode()),
               (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
    headers += [(k.lower().encode("ascii"), v.encode("latin-1")) for k, v in reply.headers.items()]
    if close:  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] != "lifespan.shutdown":
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name; the last of equal names (servers refuse lengths that contradict each other)."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


def _target(scope: Scope) -> str:
    """The path as it was sent, percent-encoded, without the query: what an envelope is signed for."""
    raw = scope.get("raw_path")
    return raw.decode("ascii", "replace").partition("?")[0] if raw else str(scope["path"])


def _path(scope: Scope) -> str:
    """The same below the root path of an application that mounts this one."""
    path, root = _target(scope), scope.get("root_path", "")
    return path[len(root):] if root and path.startswith(root) else path


def _peer(scope: Scope) -> str:
    """Common name of the peer's verified certificate, "" without one."""
    return str((scope.get("state") or {}).get("edgerun_peer", ""))


def is_local(scope: Scope) -> bool:
    """Loopback, a Unix socket, or an application that calls this one directly."""
    client = scope.get("client")
    if client is None:
        return True
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _is_short(scope: Scope) -> bool:
    """Whether a body has a known length that can be thrown away when it comes; who waits for leave to send it may never send it."""
    headers = _headers(scope)
    length = headers.get("content-length", "0")
    known = "expect" not in headers and "transfer-encoding" not in headers
    return known and length.isascii() and length.isdecimal() and len(length) < 10 and int(length) <= SHORT


def _length(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise Refused("bad_http", f"{name}: expected a number of bytes")
    return int(text)
