"""The gRPC interface: GRPCInferenceService on grpc.aio.

Handlers take and give bytes, so that the gate sees what was signed before anything parses it. They are registered as streams of requests,
which look the same on the wire: so they begin when the header is there, and can bound and count the message that follows."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from edgerun.about import __version__
from edgerun.errors import OptionError, Refused
from edgerun.serve import rpc_codec, status
from edgerun.serve.core import Core, Message
from edgerun.serve.gate import ENVELOPE
from edgerun.serve.http import EXTENSIONS, metadata
from edgerun.serve.oip import InferRequest
from edgerun.serve.served import Served
from edgerun.serve.settings import ServeLimits, TlsFiles
from edgerun.splits.envelope import ANSWER, answer_line
from edgerun.splits.oip_messages import SERVICE, messages

try:
    import grpc
    import grpc.aio
except ImportError as e:
    raise OptionError("gRPC: expected the package grpcio; found none: pip install 'edgerun[serve]'") from e

SLACK = 64 << 10
"""Bytes above the largest legal message that are still read, to say and count that it is too large; gRPC itself cuts off what is longer."""
GONE_S = 0.1


def make_server(core: Core) -> grpc.aio.Server:
    """Not started, without ports."""
    limits = core.limits
    most = max(served.most_bytes(json=False) for served in core.models)
    server = grpc.aio.server(options=_options(limits, most))
    methods = {"ServerLive": _live, "ServerReady": _ready, "ModelReady": _model_ready, "ServerMetadata": _metadata,
               "ModelMetadata": _model_metadata}
    handlers = {name: grpc.stream_unary_rpc_method_handler(_managing(core, name, method)) for name, method in methods.items()}
    handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(_inferring(core, most))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return server


def _options(limits: ServeLimits, most: int) -> list[tuple[str, int]]:
    return [("grpc.max_receive_message_length", most + SLACK), ("grpc.max_metadata_size", limits.header),
            ("grpc.absolute_max_metadata_size", limits.header), ("grpc.max_concurrent_streams", limits.concurrency),
            ("grpc.so_reuseport", 0), ("grpc.server_handshake_timeout_ms", int(limits.header_s * 1000)),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000), ("grpc.http2.max_ping_strikes", 3)]


def listen(server: grpc.aio.Server, address: str, tls: TlsFiles | None) -> int:
    """Bind; the port. OptionError where that fails."""
    try:
        if tls is None:
            return server.add_insecure_port(address)
        key, cert, ca = (None if p is None else _read(p) for p in (tls.key, tls.cert, tls.client_ca))
        credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=ca is not None)
        return server.add_secure_port(address, credentials)
    except RuntimeError as e:
        raise OptionError(f"gRPC: expected to listen on {address}; found: {e}; choose another port (--grpc-port; 0: any free one)") from e


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise OptionError(f"{path}: expected a PEM file; found: {e.strerror}") from e


# -- inference --------------------------------------------------------------------------------------------------------


def _inferring(core: Core, most: int) -> Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]:
    async def infer(received: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            with core.message("grpc", _peer(context)) as m:
                core.room(_metadata_of(context).get(ENVELOPE))
                body = await _body(received, most, core, m)
                who = await core.admit(m, _metadata_of(context).get(ENVELOPE), body, "GRPC", f"/{SERVICE}/ModelInfer")

                def parse() -> tuple[Served, InferRequest]:
                    request = rpc_codec.decode(rpc_codec.parse("ModelInferRequest", body))
                    served = core.intended(who, core.models.find(request.model, request.version))
                    if len(body) > served.most_bytes(json=False):
                        raise Refused("too_large", f"expected at most {served.most_bytes(json=False)} bytes; found {len(body)}")
                    return served, request

                out = rpc_codec.encode(await core.infer(m, who, parse))
                m.bytes_out = len(out)
                if who.key is not None:
                    context.set_trailing_metadata(((ANSWER, answer_line(who.device, who.epoch, who.seq, who.digest)),))
                return out
        except Refused as e:
            return await _refuse(context, e)

    return infer


async def _body(received: AsyncIterator[bytes], most: int, core: Core, m: Message) -> bytes:
    """The one message of the call. Refused: slow, cut_off, too_large, syntax.

    gRPC tells a message above its limit (whose sender it has answered) and a sender who went away in the same way: the stream ends and
    this task is cancelled, in either order. So both are cut_off."""
    coming = asyncio.ensure_future(anext(received))
    coming.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # seen, so that no log tells of it
    try:
        await asyncio.wait({coming}, timeout=core.limits.body_s)
        if not coming.done():
            coming.cancel()
            raise Refused("slow", f"expected the message within {core.limits.body_s:g} s")
        if isinstance(coming.exception(), StopAsyncIteration):
            await asyncio.sleep(GONE_S)  # for the cancellation, if one follows
            raise Refused("syntax", "expected one message; found none")
    except asyncio.CancelledError:
        if core.draining:
            raise
        coming.cancel()
        raise Refused("cut_off", f"expected one message of at most {most} bytes; found more, or a sender who went away") from None
    body = coming.result()
    m.bytes_in = len(body)
    if len(body) > most:
        raise Refused("too_large", f"expected at most {most} bytes; found {len(body)}")
    return body


async def _refuse(context: Any, e: Refused) -> bytes:
    trailing = [("edgerun-reason", e.reason)]
    if e.retry_after is not None:
        trailing.append(("retry-after", str(max(1, math.ceil(e.retry_after)))))
    await context.abort(grpc.StatusCode[status.of(e.reason).grpc], e.detail, tuple(trailing))
    raise AssertionError("abort returned")


def _peer(context: Any) -> str:
    names = context.auth_context().get("x509_common_name", ())
    return names[0].decode("utf-8", "replace") if names else ""


def _metadata_of(context: Any) -> dict[str, str]:
    return {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}


def _is_local(context: Any) -> bool:
    """peer() is "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711" or "unix:…"."""
    kind, _, rest = context.peer().partition(":")
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    try:
        return kind == "unix" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- everything else --------------------------------------------------------------------------------------------------


def _managing(core: Core, name: str, method: Callable[[Core, Any], Any]) -> Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]:
    """Live and ready are for everybody; what tells of models only for who may also ask them."""
    async def manage(received: AsyncIterator[bytes], context: Any) -> bytes:
        peer = _peer(context)
        try:
            try:
                body = await _body(received, 16 << 10, core, Message("grpc"))
                if name not in ("ServerLive", "ServerReady") and not peer and not _is_local(context):
                    await core.trust(_metadata_of(context).get(ENVELOPE), body, "GRPC", f"/{SERVICE}/{name}", peer)
                out: bytes = method(core, rpc_codec.parse(f"{name}Request", body)).SerializeToString()
                return out
            except Refused as refused:
                with core.message("grpc", peer):
                    raise refused
        except Refused as e:
            return await _refuse(context, e)

    return manage


def _live(core: Core, _: Any) -> Any:
    return messages().ServerLiveResponse(live=core.live)


def _ready(core: Core, _: Any) -> Any:
    return messages().ServerReadyResponse(ready=core.ready)


def _model_ready(core: Core, asked: Any) -> Any:
    return messages().ModelReadyResponse(ready=core.models.find(asked.name, asked.version).healthy and not core.draining)


def _metadata(core: Core, _: Any) -> Any:
    return messages().ServerMetadataResponse(name="edgerun", version=__version__, extensions=EXTENSIONS)


def _model_metadata(core: Core, asked: Any) -> Any:
    served = core.models.find(asked.name, asked.version)
    found = metadata(served, core.models.versions(served.name))
    return messages().ModelMetadataResponse(**{k: found[k] for k in ("name", "versions", "platform", "inputs", "outputs")})
