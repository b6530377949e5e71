"""Answers kept for a while, so that a device which lost one can ask again with the same envelope: run once, answered as often as asked."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import replace

from edgerun.errors import InputError, Refused
from edgerun.serve.gate import Principal
from edgerun.serve.oip import InferResponse
from edgerun.splits.envelope import Envelope

Key = tuple[str, str | None, int, int, str]


class Answers:
    """At most `most` answers of `most_bytes` in all, each for `seconds`. A future stands for an answer that is still being computed."""

    def __init__(self, most: int, seconds: float, most_bytes: int) -> None:
        self.most, self.seconds, self.most_bytes = most, seconds, most_bytes
        self.bytes = 0
        self._kept: OrderedDict[Key, tuple[float, asyncio.Future[InferResponse], int]] = OrderedDict()

    def begin(self, who: Principal) -> asyncio.Future[InferResponse] | None:
        """The future that `finish` is to be given; None for a message without a key: it cannot be repeated."""
        if who.key is None:
            return None
        future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        self._kept[_key(who)] = (time.monotonic() + self.seconds, future, 0)
        self._trim()
        return future

    def finish(self, who: Principal, future: asyncio.Future[InferResponse], answer: InferResponse | BaseException) -> None:
        if isinstance(answer, BaseException):
            future.set_exception(answer)
            future.exception()  # taken note of
            return
        future.set_result(answer)
        entry = self._kept.pop(_key(who), None)
        if entry is not None:
            size = sum(o.data.nbytes for o in answer.outputs)
            self.bytes += size
            self._kept[_key(who)] = (time.monotonic() + self.seconds, future, size)
            self._trim()

    async def again(self, who: Principal) -> InferResponse:
        """The stored answer (or error) to the same envelope and body, once it is there. Refused("replay") where there is none."""
        entry = self._kept.get(_key(who))
        if entry is None or entry[0] < time.monotonic():
            raise Refused("replay", "this sequence number was used before")
        answer = await asyncio.shield(entry[1])
        return replace(answer, parameters={**answer.parameters, "repeated": True})

    def holds(self, header: str | None) -> bool:
        """Whether there is an answer to what an envelope claims to be, which nobody has verified yet."""
        if header is None or not self._kept:
            return False
        try:
            e = Envelope.parse(header)
        except InputError:
            return False
        return (e.device, e.key, e.epoch, e.seq, e.digest) in self._kept

    def _trim(self) -> None:
        now = time.monotonic()
        while self._kept:
            key, (until, _, size) = next(iter(self._kept.items()))
            if until >= now and len(self._kept) <= self.most and self.bytes <= self.most_bytes:
                return
            del self._kept[key]
            self.bytes -= size


def _key(who: Principal) -> Key:
    return who.device, who.key, who.epoch, who.seq, who.digest
