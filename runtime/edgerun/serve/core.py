"""What happens to a message whatever transport brought it: admission, trust, meaning, the run, the answer, and one event at the end."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun.errors import DeadlineExceeded, FaultError, InputError, ModelError, PlanError, Refused
from edgerun.result import Result
from edgerun.serve import status
from edgerun.serve.answers import Answers
from edgerun.serve.events import Event, Observers
from edgerun.serve.gate import Body, Gate, Principal
from edgerun.serve.oip import InferRequest, InferResponse, OutputTensor
from edgerun.serve.pool import Pool
from edgerun.serve.rates import Rates
from edgerun.serve.repository import Repository
from edgerun.serve.semantics import Asked, understand
from edgerun.serve.served import Run, Served
from edgerun.serve.settings import ServeLimits

SCRUB_S = 60.0
"""Seconds between two verifications of all weights of all sessions."""


@dataclass(slots=True)
class Message:
    """A message under way; its fields become those of the event."""

    transport: str
    peer: str = ""
    device: str = ""
    model: str = ""
    exit: str = ""
    request_id: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    difficulty: float | None = None
    attack_score: float | None = None
    threshold: float | None = None
    checks: tuple[str, ...] = ()
    outcome: str = "ok"
    reason: str = ""
    started: float = field(default_factory=time.perf_counter)

    @property
    def latency_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1e3

    def event(self) -> Event:
        return Event(time.time(), self.device, self.model, self.transport, self.outcome, self.reason, self.latency_ms, self.queue_ms,
                     self.compute_ms, self.exit, self.difficulty, len(self.checks), self.attack_score, self.threshold, self.bytes_in,
                     self.bytes_out, self.checks, self.request_id, self.peer)


class Core:
    """Belongs to one event loop. workers: threads, and sessions of each model."""

    def __init__(self, models: Repository, gate: Gate, limits: ServeLimits, workers: int, observers: Observers) -> None:
        self.models, self.gate, self.limits, self.observers = models, gate, limits, observers
        self.pool = Pool(workers, limits.queue)
        self.rates = Rates(limits.rate, limits.burst, limits.devices)
        self.answers = Answers(limits.answers, limits.answer_s, limits.answer_bytes)
        self.draining = False
        self.messages = 0
        self._beat = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    # -- health -------------------------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the event loop beats: false where it was stuck for more than five seconds."""
        return not self._tasks or time.monotonic() - self._beat < 5.0

    @property
    def ready(self) -> bool:
        return self.models.ready and not self.draining

    async def start(self) -> None:
        """Test all models; then beat and scrub until `stop`."""
        loop = asyncio.get_running_loop()
        for served in self.models:
            await loop.run_in_executor(None, served.self_test)
        self._tasks = [loop.create_task(self._beats()), loop.create_task(self._scrubs())]

    async def _beats(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(0.5)

    async def _scrubs(self) -> None:
        while True:
            await asyncio.sleep(SCRUB_S)
            for served in self.models:
                for _ in range(self.pool.workers):
                    await self._scrub(served)

    async def _scrub(self, served: Served) -> None:
        try:
            await self.pool.run(served.scrub, self.limits.wait_s)
        except Refused:
            pass  # the workers are busy serving: the runs verify some weights each, and the next turn comes
        except Exception:
            traceback.print_exc(file=sys.stderr)

    async def drain(self, seconds: float) -> int:
        """Not ready from now on, and nothing new is taken; messages that are left after so many seconds."""
        self.draining = True
        end = time.monotonic() + seconds
        while self.messages and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return self.messages

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.get_running_loop().run_in_executor(None, self.pool.close)

    # -- messages -----------------------------------------------------------------------------------------------------

    @contextmanager
    def message(self, transport: str, peer: str = "") -> Iterator[Message]:
        """Around all that is done for a message: its event is sent at the end. Raises Refused only, whatever was raised within; tracebacks
        of defects go to stderr. The transport answers with `status.of(refused.reason)`."""
        m = Message(transport, peer)
        self.messages += 1
        try:
            if self.draining:
                raise Refused("draining", "the server is shutting down", retry_after=1.0)
            if self.messages > self.limits.concurrency:
                raise Refused("overload", "too many messages at once; try again later", retry_after=self.pool.wait_estimate())
            yield m
        except Refused as e:
            m.outcome, m.reason = status.of(e.reason).outcome, e.reason
            if isinstance(e.__cause__, FaultError):
                m.checks = tuple(f.check for f in e.__cause__.findings)
            raise
        except asyncio.CancelledError:
            m.outcome, m.reason = "rejected", "draining" if self.draining else "gone"
            raise
        except Exception as e:
            m.outcome, m.reason = "error", "internal"
            traceback.print_exc(file=sys.stderr)
            raise Refused("internal", "a defect of the server; its log says more") from e
        finally:
            self.messages -= 1
            self.observers(m.event())

    def room(self, header: str | None) -> None:
        """Refused("overload") where no worker could take the message now: before its body is read, and its number used. One that asks for a
        stored answer needs no worker."""
        try:
            self.pool.room()
        except Refused:
            if not self.answers.holds(header):
                raise

    async def trust(self, header: str | None, body: Body, method: str, target: str, peer: str) -> Principal:
        """Who asks for something other than inference: nothing of that is remembered, so a repeated message is Refused("replay")."""
        who = await self.gate.admit(header, body, method, target, peer)
        if who.repeated:
            raise Refused("replay", "this sequence number was used before")
        return who

    async def admit(self, m: Message, header: str | None, body: Body, method: str, target: str) -> Principal:
        """Gate and rate. Raises Refused."""
        who = await self.gate.admit(header, body, method, target, m.peer)
        m.device = who.device
        if not who.repeated:
            self.rates.take(who.device)
        return who

    @staticmethod
    def intended(who: Principal, served: Served) -> Served:
        """The model, where the message was made for this file. Refused("model_hash")."""
        if who.model is not None and who.model != served.sha256:
            raise Refused("model_hash", "the message was made for another model file")
        return served

    async def infer(self, m: Message, who: Principal, parse: Callable[[], tuple[Served, InferRequest]]) -> InferResponse:
        """The answer to an admitted message; `parse` reads it, and holds the model against `intended`. A repeated one is answered from
        memory, or Refused("replay")."""
        if who.repeated:
            return await self.answers.again(who)
        future = self.answers.begin(who)
        try:
            served, request = parse()
            m.model, m.request_id = served.name, request.id
            if not served.healthy:
                raise Refused("not_ready", "the model failed its self-test", retry_after=10.0)
            answer = await self._answer(m, served, request)
        except BaseException as e:
            if future is not None:
                self.answers.finish(who, future, e if isinstance(e, Exception) else Refused("draining", "the run was cancelled"))
            raise
        if future is not None:
            self.answers.finish(who, future, answer)
        return answer

    async def _answer(self, m: Message, served: Served, request: InferRequest) -> InferResponse:
        asked = understand(served, request)
        wait_s = min(self.limits.wait_s, self.limits.wait_s if asked.wait_s is None else asked.wait_s)
        done = await self.pool.run(lambda worker: _run(served, worker, asked), wait_s)
        run = done.value
        m.queue_ms, m.compute_ms = done.queue_s * 1e3, run.seconds * 1e3
        if run.score is not None:
            m.attack_score, m.threshold = run.score.value, run.score.threshold
        if run.result is None:
            raise Refused("attack", "the features look manipulated")
        result = run.result
        m.exit = result.exit.name if result.exit.of > 1 else ""
        m.difficulty = result.difficulty
        m.checks = tuple(f.check for f in result.checks.findings)
        if not result.checks.ok:
            m.outcome, m.reason = "fault", "fault"
        elif run.score is not None and run.score.attack:
            m.outcome, m.reason = "attack", "attack"
        return InferResponse(served.name, served.version, _outputs(asked, result), request.id, _parameters(m, run))


def _run(served: Served, worker: int, asked: Asked) -> Run:
    try:
        return served.run(worker, asked.feeds, asked.exit_scores)
    except FaultError as e:
        raise Refused("fault", "a fault was found in the run and could not be cured; try again") from e
    except DeadlineExceeded as e:
        raise Refused("deadline", "the run took longer than the server allows") from e
    except (InputError, ModelError, PlanError) as e:  # shapes that are legal one by one, but not together
        raise Refused("shape", "the model cannot be run on these shapes or values") from e


def _outputs(asked: Asked, result: Result) -> tuple[OutputTensor, ...]:
    """In the order asked for; those behind the exit that was taken are absent."""
    names = asked.outputs or tuple(result.outputs)
    return tuple(OutputTensor(n, np.ascontiguousarray(result.outputs[n])) for n in names if n in result.outputs)


def _parameters(m: Message, run: Run) -> Mapping[str, Any]:
    found: dict[str, Any] = {"findings": len(m.checks), "latency_ms": round(m.latency_ms, 3), "queue_ms": round(m.queue_ms, 3)}
    if m.exit:
        found["exit"] = m.exit
    if m.difficulty is not None:
        found["difficulty"] = float(m.difficulty)
    if run.score is not None:
        found |= {"attack_score": m.attack_score, "attack_threshold": m.threshold, "attack": bool(run.score.attack)}
    return found
