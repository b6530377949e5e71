"""The load tool against a real server, briefly; and that it would notice what it is there to notice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("grpc", reason="needs the extra serve")

from running import ALEXNET, SAMPLES

from edgerun.preprocess import read_image
from edgerun_tools.serve import load, load_clients, load_phases
from edgerun_tools.serve.load_report import claims, counts
from edgerun_tools.serve.load_server import Memory, Server
from edgerun_tools.serve.load_work import prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The ten sample digits as a data set."""
    path = tmp_path_factory.mktemp("load") / "digits.npz"
    images = [read_image((SAMPLES / f"digit_{k}.png").read_bytes(), "digit") for k in range(10)]
    np.savez(path, x=np.stack([i[..., 0] if i.ndim == 3 else i for i in images]), y=np.arange(10))
    return str(path)


@pytest.fixture(scope="module")
def work(digits):
    return prepare(str(ALEXNET), digits, 10, "none")


@pytest.fixture(scope="module")
def server():
    with Server(str(ALEXNET), {"queue": 64}, ["--workers", "1"]) as found:
        yield found


async def _closed(server, work, protocol, clients=4, seconds=0.5):
    made = load_clients.make(protocol, clients, server.http, server.grpc)
    tally = await load_phases.closed(made, work, seconds)
    for c in made:
        await c.close()
    return tally


def test_the_whole(digits, tmp_path, capsys):
    """All phases: right answers, refusals in overload and nothing else, both tables, and a report that says the same."""
    page = tmp_path / "report.json"
    found = load.main([str(ALEXNET), "--data", digits, "--inputs", "10", "--clients", "8", "--seconds", "1", "--short", "1",
                       "--warm", "0.2", "--workers", "1", "--queue", "1", "--times", "3", "--json", str(page)])
    report = json.loads(page.read_text())
    soak, over = report["soak"], report["overload"]
    assert set(soak["closed"]["statuses"]) == {"ok"} and set(soak["open"]["statuses"]) == {"ok"}
    assert soak["closed"]["ok_ms"]["p50"] <= soak["closed"]["ok_ms"]["p99"] <= soak["closed"]["ok_ms"]["max"]
    assert set(over["overload"]["statuses"]) > {"ok"} and "wrong answer" not in over["overload"]["statuses"]
    assert set(over["unloaded"]["statuses"]) == set(over["recovery"]["statuses"]) == {"ok"}
    assert found == (0 if all(holds for _, _, holds in claims(report)) else load.NOT_HELD)
    told = capsys.readouterr().out
    assert counts(over["overload"]) in told and "arrivals at" in told


def test_data_that_is_not_there_is_said(capsys):
    assert load.main([str(ALEXNET), "--data", "nowhere.npz"]) == 4
    assert "nowhere.npz" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_answers_are_compared(server, work, protocol):
    """One bit of one expected output: every answer to that input is wrong, and no other."""
    output, value = next(iter(work[3].expected.items()))
    other = dataclasses.replace(work[3], expected=work[3].expected | {output: bytes([value[0] ^ 1]) + value[1:]})
    tally = asyncio.run(_closed(server, [other if k == 3 else w for k, w in enumerate(work)], protocol))
    assert set(tally.statuses) == {"ok", "wrong answer"}
    assert tally.statuses["wrong answer"] <= tally.statuses["ok"] / 9 + 4


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_refusals_are_told_by_their_status(server, work, protocol):
    spoilt = [dataclasses.replace(w, http=w.http.replace(b"models/load", b"models/lost"), grpc=w.grpc.replace(b"load", b"lost"))
              for w in work]
    tally = asyncio.run(_closed(server, spoilt, protocol, 2, 0.3))
    assert set(tally.statuses) == {"404" if protocol == "http" else "NOT_FOUND"} and tally.goodput == 0


def test_a_server_that_is_gone_is_an_error(work):
    with Server(str(ALEXNET), {}, ["--workers", "1"]) as gone:
        pass
    tally = asyncio.run(_closed(gone, work, "http", 1, 0.1))
    assert set(tally.statuses) == {"ConnectionRefusedError"}


class Slow:
    """A client of a server that takes 20 ms for one thing after the other."""

    async def send(self, work):
        await asyncio.sleep(0.02)
        return load_clients.OK

    async def close(self):
        """Nothing to close."""


def test_waiting_behind_slow_answers_counts(work):
    """Coordinated omission: at 100 arrivals a second, a server of 50 answers a second looks well by the times of its answers alone."""
    tally = asyncio.run(load_phases.opened([Slow()], work, 100.0, 1.0))
    sent, due = load_phases.percentiles(tally.ok_sent), load_phases.percentiles(tally.ok_due)
    assert sent["p99"] < 200 and due["p99"] > 400 and due["p50"] > 5 * sent["p50"]
    assert tally.goodput < 55


def test_arrivals_are_those_of_a_poisson_process(work):
    """Number: mean and variance of the count are rate times seconds; 300 ± 5 standard deviations. The same seed, the same arrivals."""
    tally = asyncio.run(load_phases.opened([Slow() for _ in range(64)], work, 600.0, 0.5))
    again = asyncio.run(load_phases.opened([Slow() for _ in range(64)], work, 600.0, 0.5))
    assert abs(sum(tally.statuses.values()) - 300) < 5 * 300**0.5 and tally.statuses == again.statuses


def test_a_leak_is_noticed():
    """The control that must fail: a process that keeps half a MiB of every 20 ms."""
    code = ("import time\nkept = []\nprint('on', flush=True)\n"
            "while True:\n    kept.append(bytearray(b'x' * (1 << 19)))\n    time.sleep(0.02)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as leaking:
        assert leaking.stdout is not None and leaking.stdout.readline() == b"on\n"
        server = object.__new__(Server)
        server.pid = leaking.pid
        memory = Memory(server, 0.02)

        async def watch():
            task = asyncio.create_task(memory.watch())
            await asyncio.sleep(1.0)
            task.cancel()

        try:
            asyncio.run(watch())
        finally:
            leaking.kill()
    found = memory.summary()
    assert found["growth_kib"] > 1024
    series = found["series_kib"]
    assert 20 <= len(series) <= 60 and series == sorted(series) and series[0] == found["first_kib"]


def test_memory_and_time_are_those_of_the_server(server, work):
    before = server.cpu_s()
    assert 10_000 < server.rss_kib() < 2_000_000
    asyncio.run(_closed(server, work, "http", 2, 0.6))
    assert server.cpu_s() > before
