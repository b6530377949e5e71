"""The ways to an answer, as the device's process measures them: all here, all there, or some of both."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.device import Device, DeviceKey, Remote, State, Tls
from edgerun.device.message import tensor_of
from edgerun.result import Result
from edgerun.splits.envelope import Signer
from edgerun_tools import quantize_data

Found = tuple[np.ndarray, str, str]
"""Scores, the exit that gave them, and where: device, server or fallback."""
Way = Callable[[Mapping[str, np.ndarray]], Found]
POLICY = "exit_policy"
WORDS = {"http": "HTTP", "grpc": "gRPC"}
"""Transports, and what the table calls them."""


def slowed(session: Session, times: int) -> Session:
    """The same, on a device that is so many times slower: every run is computed so often, and the last one counts."""
    run = session.run

    def again(feeds: Any) -> Result:
        for _ in range(times - 1):
            run(feeds)
        return run(feeds)

    session.run = again  # type: ignore[method-assign]
    return session


def measure(plan: Mapping[str, Any]) -> dict[str, Any]:
    """plan: model, parts, data, inputs, scale, servers {transport: URL}, tls, name, key, state, exit_policy. By way: milliseconds of every
    input, how many answers have the bits that the whole model has at the exit that answered, how many name the class of its last exit,
    and where they came from."""
    key, tls = DeviceKey.load(plan["key"]), Tls(*plan["tls"])
    options: dict[str, Any] = {"checks": "maed", "threads": 1}
    remote: dict[str, Any] = {"timeout_s": 120.0, "retries": 3}
    with Session(plan["model"], **options) as whole, Session(plan["model"], exit_policy=plan[POLICY], **options) as leaving:
        rows = quantize_data.load(whole, plan["data"], limit=plan["inputs"])
        trial = Trial([rows[k] for k in range(len(rows))], whole)
        slowed(whole, plan["scale"])
        slowed(leaving, plan["scale"])
        found = {"device only": trial.timed(lambda x: _local(whole.run(x), trial.last)),
                 "device only, early exit": trial.timed(lambda x: _local(leaving.run(x), trial.last))}
    digest = hashlib.sha256(Path(plan["model"]).read_bytes()).hexdigest()
    for transport, server in plan["servers"].items():
        with closing(State(plan["state"])) as state, \
                Remote(server, "whole", signer=Signer(plan["name"], key, state.epoch), sha256=digest, tls=tls, **remote) as there:
            found[f"server only, {WORDS[transport]}"] = trial.timed(partial(_far, there, trial.last))
        for encoding in ("fp32", "int8"):
            for policy in ("none", plan[POLICY]):
                with Device(plan["parts"], server, model="parts", name=plan["name"], key=key, state=plan["state"], tls=tls,
                            encoding=encoding, exit_policy=policy, remote=remote, **options) as device:
                    slowed(device.session, plan["scale"])
                    early = ", early exit" if policy != "none" else ""
                    found[f"split, {encoding}{early}, {WORDS[transport]}"] = trial.timed(_split(device))
    return found


class Trial:
    """Inputs, and what the whole model says of them at every exit."""

    def __init__(self, inputs: Sequence[Mapping[str, np.ndarray]], whole: Session) -> None:
        self.inputs = inputs
        self.last = whole.exits[-1] if whole.exits else whole.outputs[-1].name
        self.expected = [whole.run(x).outputs for x in inputs]

    def timed(self, way: Way) -> dict[str, Any]:
        way(self.inputs[0])  # the handshake, and memory that is touched for the first time
        times, where, bits, same = [], [], 0, 0
        for x, e in zip(self.inputs, self.expected, strict=True):
            began = time.perf_counter()
            scores, end, place = way(x)
            times.append(1e3 * (time.perf_counter() - began))
            where.append(place)
            bits += np.array_equal(scores, e[end])
            same += int(scores.argmax()) == int(e[self.last].argmax())
        return {"ms": times, "bits": int(bits), "same": int(same), "where": {w: where.count(w) for w in sorted(set(where))}}


def _local(result: Result, last: str) -> Found:
    end = result.exit.name if result.exit.early else last
    return result.outputs[end], end, "device"


def _far(remote: Remote, last: str, x: Mapping[str, np.ndarray]) -> Found:
    return remote.ask([tensor_of(n, a) for n, a in x.items()]).reply.outputs[last], last, "server"


def _split(device: Device) -> Way:
    def ask(x: Mapping[str, np.ndarray]) -> Found:
        answer = device.infer(x)
        assert answer.scores is not None
        return answer.scores, answer.exit, answer.where if answer.where in ("server", "fallback") else "device"

    return ask


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
