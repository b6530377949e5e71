"""The device's half of a split model: answer here where an exit is sure enough, ask the server where none is, make do where it is away."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.device.message import EXIT_SCORES, Array, features_of, tensor_of
from edgerun.device.remote import Asked, Remote
from edgerun.device.state import State
from edgerun.device.telemetry import Telemetry
from edgerun.device.transport import Tls
from edgerun.errors import DataError, InputError, OffloadError, OptionError
from edgerun.executors.base import Finding
from edgerun.result import Result, softmax
from edgerun.session import Session
from edgerun.splits.envelope import Signer
from edgerun.splits.keys import DeviceKey
from edgerun.splits.manifest import Manifest
from edgerun.splits.wire import ENCODINGS, pack

SERVER, FALLBACK = "server", "fallback"


@dataclass(frozen=True)
class Answer:
    """One answer.

    where        name of the exit on the device, "server", or "fallback": the deepest exit of the head, in want of the server
    reason       of a fallback: why the server gave no answer (see `edgerun.errors.OffloadError`); else "". detail: more of it, for people
    outputs      by the names of the whole model: exits in front of the cut, and what the server computed
    scores       [1, classes] of the exit that answered; None where the model names none
    exit         its name, "" where the model has no exits
    ms           from the input to the answer; head_ms, remote_ms: of it the head, and all attempts at the server. milliseconds
    attempts     messages sent; parameters: what the server said (exit, findings, attack_score, …); findings: of the checks on the device
    """

    where: str
    outputs: Mapping[str, Array]
    scores: Array | None
    exit: str
    ms: float
    head_ms: float
    remote_ms: float = 0.0
    attempts: int = 0
    reason: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    labels: tuple[str, ...] = ()
    detail: str = ""

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable (label, probability) pairs, numbers where there are no labels; empty where no classes are known."""
        if self.scores is None:
            return []
        p = self.scores.reshape(-1).astype(np.float64)
        if p.min() < 0 or abs(p.sum() - 1) > 1e-3:  # else the model ends in a softmax of its own
            p = softmax(p)
        return [(self.labels[k] if k < len(self.labels) else str(k), float(p[k])) for k in np.argsort(-p, kind="stable")[:count].tolist()]

    def event(self) -> dict[str, Any]:
        """What telemetry reports of it; numbers that are not finite are None, as JSON has none."""
        top = self.best(1)
        said = {k: _finite(v) for k, v in self.parameters.items() if k in ("attack_score", "attack", "findings", "queue_ms", "repeated")}
        return {"where": self.where, "exit": self.exit, "reason": self.reason, "ms": round(self.ms, 3), "head_ms": round(self.head_ms, 3),
                "remote_ms": round(self.remote_ms, 3), "attempts": self.attempts, "findings": [f.check for f in self.findings],
                "top": {"label": top[0][0], "probability": _finite(round(top[0][1], 6))} if top else None, "server": said}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Device:
    """Run the head of a split model, and ask a server for the rest.

        with Device("parts/", "https://edge.lan:8000", name="cam-1", key=DeviceKey.load("cam-1.key"), state="/var/lib/cam-1",
                    exit_policy="dart", tls=Tls(ca="ca.pem")) as device:
            answer = device.infer(x)
            print(answer.where, answer.best(1))

    head          folder with head.onnx and split.json of `edgerun split` (tail.onnx may be missing)
    server        https://HOST:PORT, grpcs://HOST:PORT; None: never ask, answer with the best exit
    model         name of the tail at the server; None: the folder's
    name, key     of this device; without a key nothing is signed (mutual TLS, or a trial). state: folder of this device, see `State`
    exit_policy   when an exit is sure enough, and encoding: how features travel (docs/split.md)
    fallback      False: raise OffloadError rather than answer with an exit that was not sure
    telemetry     every answer is reported to it
    remote        further settings of `Remote`: timeout_s, retries, backoff, breaker, insecure, version. Everything else goes to `Session`

    Threads may share it: heads run one after the other, waiting for the server goes side by side. Raises ModelError,
    OptionError, PolicyError.
    """

    def __init__(self, head: str | os.PathLike[str], server: str | None, *, model: str | None = None, name: str = "",
                 key: DeviceKey | None = None, state: str | os.PathLike[str] | State | None = None, exit_policy: str = "none",
                 encoding: str = "fp32", tls: Tls | None = None, fallback: bool = True, telemetry: Telemetry | None = None,
                 remote: Mapping[str, Any] | None = None, **options: Any) -> None:
        if encoding not in ENCODINGS:
            raise OptionError(f"encoding: expected one of {', '.join(ENCODINGS)}; found {encoding!r}")
        folder = Path(head)
        self.manifest = Manifest.read(folder, parts=("head",))
        self.encoding, self.fallback, self.telemetry = encoding, fallback, telemetry
        self.session = Session(folder / self.manifest.head.file, exit_policy=exit_policy, **options)
        self._carried = [str(t["name"]) for t in self.manifest.tensors]
        self._exits = self.manifest.head.exits
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._state: State | None = None
        self._remote: Remote | None = None
        try:
            if server is not None:
                self._remote = Remote(server, model or folder.resolve().name, signer=self._signer(name, key, state), tls=tls,
                                      sha256=self.manifest.tail.sha256, **(remote or {}))
        except BaseException:
            self.close()
            raise

    def _signer(self, name: str, key: DeviceKey | None, state: str | os.PathLike[str] | State | None) -> Signer | None:
        if key is None:
            return None
        if not name or state is None:
            raise OptionError("key: expected with it the name of this device and a folder for its state (the number of its last start); "
                              "found none")
        if isinstance(state, State):
            return Signer(name, key, state.epoch)
        self._state = State(state)
        return Signer(name, key, self._state.epoch)

    def infer(self, x: Any, timeout_s: float | None = None) -> Answer:
        """The answer to one input: an array, or {name: array} where there are several. timeout_s: for the server, this time.

        InputError: an input that does not fit the head, or more than one at a time under an exit policy; OffloadError: no answer by the
        server, and no exit to fall back on (or fallback=False); FaultError: see Session.
        """
        started = time.perf_counter()
        local = self.session.run(x)
        if local.samples:
            raise InputError(f"expected one input at a time under exit policy {self.session.policy.kind}; found {len(local.samples)}")
        head_ms = 1e3 * (time.perf_counter() - started)
        answer = self._here(local, head_ms) if self._leaves(local) else self._offload(local, head_ms, timeout_s)
        answer = replace(answer, ms=1e3 * (time.perf_counter() - started))
        self._report(answer)
        return answer

    async def infer_async(self, x: Any, timeout_s: float | None = None) -> Answer:
        """`infer` in a thread of the running loop's pool."""
        return await asyncio.to_thread(self.infer, x, timeout_s)

    @property
    def counts(self) -> dict[str, int]:
        """Answers by where they came from, fallbacks by reason ("fallback timeout"), and reports that found no room ("unreported")."""
        with self._lock:
            return dict(self._counts)

    @property
    def remote(self) -> Remote | None:
        return self._remote

    # -- the three ways ---------------------------------------------------------------------------------------------------

    def _leaves(self, local: Result) -> bool:
        """Whether the head ended at an exit: what would travel was not computed."""
        return not all(n in local.outputs for n in self._carried)

    def _here(self, local: Result, head_ms: float) -> Answer:
        return Answer(local.exit.name, local.outputs, local.scores, local.exit.name, 0.0, head_ms, findings=local.checks.findings,
                      labels=tuple(self.session.labels))

    def _offload(self, local: Result, head_ms: float, timeout_s: float | None) -> Answer:
        exits = {n: a for n, a in local.outputs.items() if n not in self._carried or n in self._exits}
        began = time.perf_counter()
        try:
            asked = self._ask(local, timeout_s)
        except OffloadError as e:
            if not (self.fallback and self._exits):
                self._count(f"none {e.reason}")
                raise
            deepest = self._exits[-1]
            return Answer(FALLBACK, exits, local.outputs[deepest], deepest, 0.0, head_ms, 1e3 * (time.perf_counter() - began),
                          reason=e.reason, findings=local.checks.findings, labels=tuple(self.session.labels), detail=e.detail)
        tail, computed = self.manifest.tail, asked.reply.outputs
        scored = asked.reply.parameters.get("exit", (tail.exits or tail.outputs)[-1])
        scores = computed[scored] if tail.exits or self.session.labels else None
        return Answer(SERVER, {**exits, **computed}, scores, scored if tail.exits else "", 0.0, head_ms, asked.ms, asked.attempts,
                      parameters=asked.reply.parameters, findings=local.checks.findings, labels=tuple(self.session.labels))

    def _ask(self, local: Result, timeout_s: float | None) -> Asked:
        if self._remote is None:
            raise OffloadError("no_server", "this device was opened without one")
        try:
            tensors = [features_of(n, pack(local.outputs[n], self.encoding, n)) for n in self._carried]
        except InputError as e:
            raise OffloadError("features", str(e)) from e
        if self._exits and EXIT_SCORES not in self._carried:  # so that the server can see whether the features fit the answer here
            tensors.append(tensor_of(EXIT_SCORES, local.outputs[self._exits[-1]].astype(np.float32).reshape(-1)))
        asked = self._remote.ask(tensors, timeout_s=timeout_s)
        tail, end = self.manifest.tail, asked.reply.parameters.get("exit")
        needed = set(tail.outputs) if end is None or end not in tail.exits[:-1] else {end}  # the rest was not computed
        if not needed <= set(asked.reply.outputs) <= set(tail.outputs) or end not in (None, *tail.exits):
            raise OffloadError("bad_answer", f"expected the outputs {', '.join(tail.outputs)}; found others")
        return asked

    def _report(self, answer: Answer) -> None:
        self._count(answer.where)
        if answer.reason:
            self._count(f"{answer.where} {answer.reason}")
        if self.telemetry is not None:
            try:
                self.telemetry.emit(answer.event())
            except (DataError, InputError):  # a full disk must not take the answer along
                self._count("unreported")

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    # -- end --------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._remote is not None:
            self._remote.close()
        self.session.close()
        if self._state is not None:
            self._state.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
