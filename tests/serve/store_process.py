"""A process that accepts numbers in a store, one after the other, and says each verdict once it has it: for tests that kill it."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from edgerun.serve.stores import open_replay


async def main(where: str, start: int) -> None:
    store = open_replay(where)
    for seq in count(start):
        verdict = await store.accept("cam-1", "0" * 16, 1, seq)
        print(seq, verdict.value, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
