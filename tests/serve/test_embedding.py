"""The server as a part of other programs: mounted in an ASGI application, and the parts that need no socket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from running import DIGITS, request_of, sample

import edgerun
from edgerun.errors import OptionError, Refused
from edgerun.serve import Event, JsonLog, ModelOptions, Observers, Principal, ServeLimits, Server
from edgerun.serve.answers import Answers
from edgerun.serve.oip import InferResponse, OutputTensor
from edgerun.serve.pool import Pool
from edgerun.serve.rates import Rates
from edgerun.serve.strict_json import loads


def test_mounted_in_starlette():
    """As docs/serving.md shows it."""
    httpx = pytest.importorskip("httpx", reason="needs httpx")
    applications = pytest.importorskip("starlette.applications", reason="needs starlette")
    from starlette.routing import Mount

    x = sample(DIGITS)
    events: list[Event] = []
    server = Server({"digits": DIGITS}, http_port=None, grpc_port=None, observers=[events.append], options=ModelOptions(workers=1))
    app = applications.Starlette(routes=[Mount("/models", server.app)])

    async def ask() -> list:
        async with server, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return [await client.get("/models/v2/health/ready"), await client.get("/models/v2/models/digits"),
                    await client.post("/models/v2/models/digits/infer", json=request_of(x, "image")),
                    await client.get("/v2/models/digits"), await client.get("/models/v2/nothing")]

    ready, described, answer, outside, missing = asyncio.run(ask())
    assert [a.status_code for a in (ready, described, answer, outside, missing)] == [200, 200, 200, 404, 404]
    with edgerun.Session(DIGITS, checks="standard", threads=1) as session:
        want = session.run(x).outputs["final"]
    np.testing.assert_array_equal(np.array(answer.json()["outputs"][0]["data"], np.float32), want.ravel())
    assert [e.outcome for e in events] == ["ok", "rejected"]


def test_an_observer_that_raises_fails_nobody(capsys):
    seen: list[int] = []

    def broken(event: int) -> None:
        raise ZeroDivisionError("an observer's own")

    Observers(broken, seen.append)(7)  # type: ignore[arg-type]
    assert seen == [7] and "an observer's own" in capsys.readouterr().err


def test_the_log_is_json_and_leaves_out_what_says_nothing():
    stream = io.StringIO()
    JsonLog(stream)(Event(1.23456, "d\n1", "m", "http", "rejected", "shape", 1.23456))
    assert json.loads(stream.getvalue()) == {"event": "request", "time": 1.235, "device": "d\n1", "model": "m", "transport": "http",
                                             "outcome": "rejected", "reason": "shape", "latency_ms": 1.235}
    assert stream.getvalue().count("\n") == 1


# -- rates ------------------------------------------------------------------------------------------------------------


def taken(rates: Rates, times: list[float], device: str = "a") -> list[bool]:
    found = []
    for now in times:
        try:
            rates.take(device, now)
            found.append(True)
        except Refused:
            found.append(False)
    return found


def test_a_bucket_fills_at_its_rate_and_no_further():
    rates = Rates(2.0, 3, 10)
    assert taken(rates, [0, 0, 0, 0]) == [True, True, True, False]
    assert taken(rates, [0.4, 0.5, 0.6]) == [False, True, False]
    assert taken(rates, [100] * 4) == [True, True, True, False]


def test_devices_have_buckets_of_their_own_and_few_are_remembered():
    rates = Rates(1.0, 1, 2)
    assert [taken(rates, [0], d)[0] for d in "abab"] == [True, True, False, False]
    assert taken(rates, [0], "c") == [True]  # a, the least recent, is forgotten
    assert len(rates._buckets) == 2


def test_retry_after_is_when_there_is_a_token():
    rates = Rates(0.5, 1, 2)
    rates.take("a", 0)
    with pytest.raises(Refused) as caught:
        rates.take("a", 1.0)
    assert caught.value.reason == "rate"
    assert taken(rates, [1.0 + caught.value.retry_after - 0.01, 1.0 + caught.value.retry_after + 0.01]) == [False, True]


# -- stored answers ---------------------------------------------------------------------------------------------------


def answer(size: int = 1) -> InferResponse:
    return InferResponse("m", "1", (OutputTensor("y", np.zeros(size, np.uint8)),))


def who(seq: int, digest: str = "d") -> Principal:
    return Principal("dev", "k", 0, seq, digest=digest)


async def kept(answers: Answers, seq: int) -> bool:
    try:
        return (await answers.again(who(seq))).parameters["repeated"] is True
    except Refused:
        return False


@pytest.mark.parametrize(("most", "most_bytes", "left"), [(2, 1000, [False, True, True]), (10, 250, [False, True, True]),
                                                          (10, 1000, [True] * 3)])
def test_stored_answers_are_bounded(most, most_bytes, left):
    async def store() -> list[bool]:
        answers = Answers(most, 60, most_bytes)
        for seq in range(3):
            answers.finish(who(seq), answers.begin(who(seq)), answer(100))
        assert answers.bytes <= most_bytes
        return [await kept(answers, seq) for seq in range(3)]

    assert asyncio.run(store()) == left


def test_stored_answers_end():
    async def store() -> list[bool]:
        answers = Answers(10, 0.05, 1000)
        answers.finish(who(1), answers.begin(who(1)), answer())
        first = await kept(answers, 1)
        await asyncio.sleep(0.1)
        return [first, await kept(answers, 1)]

    assert asyncio.run(store()) == [True, False]


def test_a_repeated_message_waits_for_the_run_that_is_under_way():
    async def store() -> tuple[bool, bool]:
        answers = Answers(10, 60, 1000)
        future = answers.begin(who(1))
        again = asyncio.create_task(kept(answers, 1))
        await asyncio.sleep(0.02)
        waiting = not again.done()
        answers.finish(who(1), future, answer())
        return waiting, await again

    assert asyncio.run(store()) == (True, True)


def test_without_a_key_nothing_is_stored():
    async def store() -> None:
        assert Answers(10, 60, 1000).begin(Principal("anonymous")) is None

    asyncio.run(store())


# -- the pool ---------------------------------------------------------------------------------------------------------


def test_workers_are_used_by_one_run_at_a_time():
    import threading

    busy: set[int] = set()
    lock = threading.Lock()
    clashes: list[int] = []

    def work(worker: int) -> int:
        with lock:
            if worker in busy:
                clashes.append(worker)
            busy.add(worker)
        threading.Event().wait(0.002)
        with lock:
            busy.discard(worker)
        return worker

    async def run() -> set[int]:
        pool = Pool(3, 100)
        done = await asyncio.gather(*(pool.run(work, 10) for _ in range(60)))
        assert pool.pending == 0
        pool.close()
        return {d.value for d in done}

    assert asyncio.run(run()) <= {0, 1, 2} and not clashes


def test_what_may_wait_is_what_is_done_in_50_ms():
    async def run() -> tuple[int, int, int]:
        slow, fast, told = Pool(2, None), Pool(2, None), Pool(2, 3)
        for _ in range(80):
            await fast.run(lambda _: time.sleep(0.001), 10)
        for _ in range(20):
            await slow.run(lambda _: time.sleep(0.06), 10)
        found = slow.waiting, fast.waiting, told.waiting
        for pool in (slow, fast, told):
            pool.close()
        return found

    slow, fast, told = asyncio.run(run())
    assert slow == 4 < fast <= 100 and told == 3


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no urgency of their own here")
def test_workers_go_before_the_event_loop():
    def nice(_: int = 0) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    async def run() -> tuple[int, set[int]]:
        pool = Pool(3, None)
        pool.put_ahead(2)
        found = {d.value for d in await asyncio.gather(*(pool.run(nice, 10) for _ in range(9)))}
        pool.close()
        return nice(), found

    usual = nice()
    with ThreadPoolExecutor(1) as one:  # its thread ends with it: the tests' own cannot be made more urgent again
        loop, workers = one.submit(asyncio.run, run()).result(30)
    assert workers == {usual} and loop == min(usual + 2, 19) and nice() == usual


def test_what_work_raises_is_raised_and_the_worker_goes_on():
    def fails(worker: int) -> None:
        raise KeyError(worker)

    async def run() -> list[int]:
        pool = Pool(1, 1)
        with pytest.raises(KeyError):
            await pool.run(fails, 10)
        found = [(await pool.run(lambda w: w, 10)).value]
        await asyncio.sleep(0)
        pool.close()
        return found

    assert asyncio.run(run()) == [0]


def test_a_cancelled_caller_leaves_its_place_taken_until_the_work_ends():
    import threading

    release = threading.Event()

    async def run() -> list[int]:
        pool = Pool(1, 1)
        task = asyncio.create_task(pool.run(lambda _: release.wait(10), 10))
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        seen = [pool.pending]
        release.set()
        await pool.run(lambda _: None, 10)
        await asyncio.sleep(0.01)
        seen.append(pool.pending)
        pool.close()
        return seen

    assert asyncio.run(run()) == [1, 0]


# -- settings and JSON ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"queue": 0}, {"rate": -1}, {"header_s": 0}, {"body": True}, {"drain_s": "10"}, {"depth": float("nan")}])
def test_limits_that_are_none(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        ServeLimits(**wrong)


@pytest.mark.parametrize("wrong", [{"fpr": 0}, {"fpr": 2}, {"workers": 0}, {"on_attack": "ignore"}, {"fpr": "5 %"}, {"threads": 1.5},
                                   {"judge": "never"}, {"checks": None}])
def test_options_that_are_none(wrong):
    with pytest.raises(OptionError):
        ModelOptions(**wrong)


@pytest.mark.parametrize("depth", [1, 5, 32])
@pytest.mark.parametrize("shell", ["{0}1{1}", '{0}"[[[["{1}', '{0}"\\"[[{{", "\\\\"{1}'])
def test_nesting_is_counted_as_the_parser_sees_it(depth, shell):
    def text(levels: int) -> bytes:
        return shell.format("[" * levels, "]" * levels).encode()

    json.loads(text(depth))
    assert loads(text(depth), depth) == json.loads(text(depth))
    with pytest.raises(Refused):
        loads(text(depth + 1), depth)
