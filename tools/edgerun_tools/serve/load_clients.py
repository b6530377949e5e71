"""Clients that cost little, because in a load test they share the processor with the server: requests are prepared bytes, connections are
kept, and of HTTP no more is read than what the server under test sends (a status line, fields, Content-Length bytes)."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from edgerun.errors import OptionError
from edgerun.splits.oip_messages import SERVICE
from edgerun_tools.serve.load_work import Work

PATIENCE_S = 30.0
"""A request without an answer after so long is counted as "timeout"."""
OK, WRONG = "ok", "wrong answer"


class Client(Protocol):
    """One connection. send: what became of the request: OK, WRONG, the HTTP status, gRPC's code, or the name of an exception."""

    async def send(self, work: Work) -> str: ...

    async def close(self) -> None: ...


class HttpClient:
    """HTTP/1.1 on one kept connection, opened again after the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, work: Work) -> str:
        try:
            return await asyncio.wait_for(self._exchange(work), PATIENCE_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.TimeoutError) as e:
            await self.close()
            return "timeout" if isinstance(e, (TimeoutError, asyncio.TimeoutError)) else type(e).__name__

    async def _exchange(self, work: Work) -> str:
        if self._writer is None or self._reader is None or self._reader.at_eof():  # at_eof: closed by the server while idle
            await self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(work.http)
        top = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        fields = dict(line.split(b": ", 1) for line in top.split(b"\r\n")[1:-2])
        body = await self._reader.readexactly(int(fields[b"content-length"]))
        if fields.get(b"connection") == b"close":
            await self.close()
        status = top.split(b" ", 2)[1].decode()
        if status != "200":
            return status
        json_length = int(fields.get(b"inference-header-content-length", len(body)))
        return OK if work.right_http(body[:json_length], body[json_length:]) else WRONG

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class GrpcClient:
    """One channel with a connection of its own; messages go as the bytes they are."""

    def __init__(self, port: int) -> None:
        try:
            import grpc
        except ImportError as e:
            raise OptionError("load over gRPC: expected grpcio; found it is not installed; pip install 'edgerun[serve]'") from e
        self._failed: Any = grpc.aio.AioRpcError
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self._infer = self._channel.unary_unary(f"/{SERVICE}/ModelInfer", request_serializer=None, response_deserializer=None)

    async def send(self, work: Work) -> str:
        try:
            return OK if work.right_grpc(await self._infer(work.grpc, timeout=PATIENCE_S)) else WRONG
        except self._failed as e:
            return str(e.code().name)

    async def close(self) -> None:
        await self._channel.close()


def make(protocol: str, count: int, http: int, grpc: int) -> list[Client]:
    """`count` clients; protocol: "http", "grpc", or "both", half and half."""
    kinds = {"http": (True,), "grpc": (False,), "both": (True, False)}[protocol]
    return [HttpClient(http) if kinds[k % len(kinds)] else GrpcClient(grpc) for k in range(count)]


__all__ = ["OK", "PATIENCE_S", "WRONG", "Client", "GrpcClient", "HttpClient", "make"]
