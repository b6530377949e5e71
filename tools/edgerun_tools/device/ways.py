"""The ways to an answer, as the device's process measures them: all here, all there, or some of both."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.device import Device, Remote, Tls
from edgerun.device.message import tensor_of
from edgerun.result import Result
from edgerun_tools import quantize_data

Way = Callable[[Mapping[str, np.ndarray]], tuple[Mapping[str, np.ndarray], str]]
"""An input → (outputs, where the answer came from)."""
POLICY = "exit_policy"


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
    """plan: model, parts, data, inputs, scale, server, ca, cert, key, exit_policy. By way: milliseconds of every input, how many answers
    have the bits of the whole model (of the exit that it takes), how many name the same class, and where answers came from."""
    tls = Tls(plan["ca"], plan["cert"], plan["key"])
    options = {"checks": "maed", "threads": 1}
    remote = {"timeout_s": 120.0, "retries": 3}
    with Session(plan["model"], **options) as whole, Session(plan["model"], exit_policy=plan[POLICY], **options) as leaving:
        rows = quantize_data.load(whole, plan["data"], "test", plan["inputs"])
        inputs = [rows[k] for k in range(len(rows))]
        last = whole.exits[-1] if whole.exits else whole.outputs[-1].name
        expected = {False: [_answer(whole.run(x), last) for x in inputs], True: [_answer(leaving.run(x), last) for x in inputs]}
        slowed(whole, plan["scale"])
        slowed(leaving, plan["scale"])
        found = {"device only": _timed(lambda x: _local(whole.run(x), last), inputs, expected[False]),
                 "device only, early exit": _timed(lambda x: _local(leaving.run(x), last), inputs, expected[True])}
    with Remote(plan["server"], "whole", tls=tls, **remote) as there:
        found["server only"] = _timed(lambda x: _far(there, x, last), inputs, expected[False])
    for encoding in ("fp32", "int8"):
        for policy in ("none", plan[POLICY]):
            with Device(plan["parts"], plan["server"], model="parts", tls=tls, encoding=encoding, exit_policy=policy, remote=remote,
                        **options) as device:
                slowed(device.session, plan["scale"])
                name = f"split, {encoding}" + (", early exit" if policy != "none" else "")
                found[name] = _timed(_split(device), inputs, expected[policy != "none"])
    return found


def _answer(result: Result, last: str) -> np.ndarray:
    return result.outputs[result.exit.name if result.exit.early else last]


def _local(result: Result, last: str) -> tuple[np.ndarray, str]:
    return _answer(result, last), "device"


def _far(remote: Remote, x: Mapping[str, np.ndarray], last: str) -> tuple[np.ndarray, str]:
    return np.asarray(remote.ask([tensor_of(n, a) for n, a in x.items()]).reply.outputs[last]), "server"


def _split(device: Device) -> Any:
    def ask(x: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
        answer = device.infer(x)
        assert answer.scores is not None
        return answer.scores, {"server": "server", "fallback": "fallback"}.get(answer.where, "device")

    return ask


def _timed(way: Any, inputs: Sequence[Mapping[str, np.ndarray]], expected: Sequence[np.ndarray]) -> dict[str, Any]:
    way(inputs[0])  # the handshake, and memory that is touched for the first time
    times, where, bits, same = [], [], 0, 0
    for x, e in zip(inputs, expected, strict=True):
        began = time.perf_counter()
        scores, place = way(x)
        times.append(1e3 * (time.perf_counter() - began))
        where.append(place)
        bits += np.array_equal(scores, e)
        same += int(scores.argmax()) == int(e.argmax())
    return {"ms": times, "bits": int(bits), "same": int(same), "where": {w: where.count(w) for w in sorted(set(where))}}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
