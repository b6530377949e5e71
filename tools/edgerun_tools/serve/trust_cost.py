"""What it costs to sign a message, and to let one in: the table of docs/security.md.

    python -m edgerun_tools.serve.trust_cost [--redis redis://127.0.0.1:6379/0] [--folder DIR]

Microseconds. Of arithmetic the best of several rounds; of what waits for others (disk, Redis, threads) the median of rounds: one message
after the other, which is the latency of a lone one, and 64 at once, which gives the share of a message under load.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from edgerun.serve.keygate import KeyGate
from edgerun.serve.stores import FileKeys, open_replay
from edgerun.splits.envelope import Envelope, Signer, digest_of
from edgerun.splits.keys import DeviceKey, verified
from edgerun.splits.replay import ReplayStore
from edgerun.splits.ring import Entry, write_ring
from edgerun_tools.common import markdown_table

ROUNDS = 60
ROUND_S = 0.005
ASKED = 3840
TOGETHER = 64
PLACE = ("POST", "/v2/models/tail/infer")


def micro(call: Callable[[], object]) -> float:
    """The mean of a call in the best round, in microseconds."""
    started = time.perf_counter()
    call()
    count = max(1, int(ROUND_S / max(time.perf_counter() - started, 1e-7)))
    means = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            call()
        means.append((time.perf_counter() - started) / count)
    return min(means) * 1e6


async def asked(ask: Callable[[int], Awaitable[object]], together: int) -> float:
    """Median over rounds of the share of one call, with so many under way, in microseconds."""
    means, number = [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(max(1, ASKED // ROUNDS // together)):
            await asyncio.gather(*(ask(number + i) for i in range(together)))
            number += together
        means.append((time.perf_counter() - started) / max(1, ASKED // ROUNDS // together) / together)
    return statistics.median(means) * 1e6


def parts(key: DeviceKey, ring: Path) -> list[tuple[str, float]]:
    """What needs no store."""
    signer = Signer("cam-1", key, 1)
    envelope = signer.seal(b"", "0" * 64, *PLACE)
    text, keys = envelope.format(), FileKeys(ring)
    return [
        ("device: sign (an empty body)", micro(lambda: signer.seal(b"", "0" * 64, *PLACE).format())),
        ("SHA-256 of 16 KiB", micro(lambda: digest_of(bytes(1 << 14)))),
        ("SHA-256 of 256 KiB", micro(lambda: digest_of(bytes(1 << 18)))),
        ("server: read the header", micro(lambda: Envelope.parse(text))),
        ("server: find the key in a file", micro(lambda: keys.ring.find("cam-1", key.id))),
        ("server: verify the signature", micro(lambda: verified(key.public, envelope.sig, envelope.signed_bytes(*PLACE)))),
    ]


async def store(opened: ReplayStore) -> tuple[float, float]:
    """One after the other, and 64 at once; each message a number of its own."""
    epoch = int(time.time())
    try:
        alone = await asked(lambda i: opened.accept("cost", "0" * 16, epoch, i), 1)
        return alone, await asked(lambda i: opened.accept("cost", "0" * 16, epoch + 1, i), TOGETHER)
    finally:
        await opened.close()


async def gate(key: DeviceKey, ring: Path, where: Path) -> tuple[float, float]:
    """The whole way in: 16 KiB of body, a file of keys, SQLite."""
    body, signer = bytes(1 << 14), Signer("cam-1", key, 1)
    headers = iter([signer.seal(body, "0" * 64, *PLACE).format() for _ in range(2 * ASKED + 2 * ROUNDS * TOGETHER)])
    opened = KeyGate(FileKeys(ring), open_replay(where))
    try:
        alone = await asked(lambda _: opened.admit(next(headers), body, *PLACE, ""), 1)
        return alone, await asked(lambda _: opened.admit(next(headers), body, *PLACE, ""), TOGETHER)
    finally:
        await opened.close()


def measure(folder: Path, redis: str | None) -> list[list[str]]:
    """Rows of the table."""
    key = DeviceKey.generate()
    write_ring(folder / "ring.json", [Entry("cam-1", key.public.hex())])
    rows = [[name, f"{us:.0f}" if us >= 10 else f"{us:.1f}", ""] for name, us in parts(key, folder / "ring.json")]
    stores = {"server: is the number new, SQLite": lambda: open_replay(folder / "a.db"),
              "the same, --power-safe": lambda: open_replay(folder / "b.db", power_safe=True)}
    if redis is not None:
        stores["the same, Redis on this machine"] = lambda: open_replay(redis)
    for name, opened in stores.items():
        rows.append([name, *(f"{us:.0f}" for us in asyncio.run(_opened(opened)))])
    rows.append(["all of it, 16 KiB, SQLite", *(f"{us:.0f}" for us in asyncio.run(gate(key, folder / "ring.json", folder / "c.db")))])
    return rows


async def _opened(make: Callable[[], ReplayStore]) -> tuple[float, float]:
    return await store(make())


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--redis", metavar="redis://…", help="also measure this store")
    options.add_argument("--folder", metavar="DIR", help="where SQLite's files go (default: the system's folder for such)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        rows = measure(Path(folder), chosen.redis)
    print(markdown_table(["", "alone, µs", f"{TOGETHER} at once, µs each"], rows))
    print(f"\n{platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
