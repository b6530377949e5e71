"""A long way to a server of this machine: every byte arrives `delay_s` later than it was sent, in either direction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue


@contextmanager
def far(port: int, delay_s: float) -> Iterator[int]:
    """The port that leads to 127.0.0.1:port."""
    opened: SimpleQueue = SimpleQueue()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                asyncio.get_running_loop().call_later(delay_s, writer.write, data)
            await asyncio.sleep(delay_s)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    async def serve() -> None:
        ended = asyncio.Event()
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        opened.put((asyncio.get_running_loop(), ended, server.sockets[0].getsockname()[1]))
        await ended.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop, ended, number = opened.get(timeout=10)
    try:
        yield number
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
