"""The same campaign on a Dask cluster: a real scheduler, two real workers, one of them killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgerun.executors import engine
from edgerun_tools import cli
from edgerun_tools.faults import store

pytest.importorskip("scipy")
pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not engine.available() or not hasattr(os, "fork"), reason="needs the C++ engine and fork")
ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models/zoo/mnist_alexnet/model.onnx"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def begin(folder: Path, *words: str) -> subprocess.Popen:
    """A process of Dask's own command line, in a group of its own."""
    return subprocess.Popen([sys.executable, "-m", "dask", *words], env=ENVIRONMENT, cwd=folder, start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def cluster(tmp_path):
    """(address, workers): a scheduler and two workers of one thread."""
    file = tmp_path / "scheduler.json"
    running = [begin(tmp_path, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))]
    try:
        address = _address(file)
        for name in ("first", "second"):
            running.append(begin(tmp_path, "worker", address, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                                 "--local-directory", str(tmp_path / name)))
        yield address, running[1:]
    finally:
        for process in running:
            process.kill()
            process.wait()


def _address(file: Path) -> str:
    import json

    until = time.monotonic() + 120
    while time.monotonic() < until:
        if file.exists() and (text := file.read_text()).strip():
            return str(json.loads(text)["address"])
        time.sleep(0.1)
    raise AssertionError("the Dask scheduler did not come up")


@pytest.fixture
def words(tmp_path):
    folder = tmp_path / "digits"
    for k in range(10):
        (folder / str(k)).mkdir(parents=True)
        shutil.copy(ROOT / f"models/samples/digit_{k}.png", folder / str(k))
    return ["campaign", str(MODEL), "--data", str(folder), "--inputs", "5", "--later", "1", "--cost", "0", "--checks", "standard",
            "--margin", "0.2", "--least", "4", "--sites", "accumulator,buffer,params,skip", "--json"]


def test_a_worker_that_dies_loses_nothing(cluster, words, tmp_path, capsys):
    address, workers = cluster
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    assert cli.main([*words, "--out", str(alone)]) == 0
    expected = (alone / store.NAME).read_bytes()
    _wait_for_workers(address, 2)
    codes: list[int] = []
    running = threading.Thread(target=lambda: codes.append(cli.main([*words, "--out", str(spread), "--scheduler", address])))
    running.start()
    until = time.monotonic() + 1200
    while time.monotonic() < until and running.is_alive():
        if (spread / store.NAME).exists() and (spread / store.NAME).read_bytes().count(b"\n") > 30:
            break
        time.sleep(0.02)
    there = (spread / store.NAME).read_bytes().count(b"\n")
    workers[0].send_signal(signal.SIGKILL)
    assert there < expected.count(b"\n"), "the campaign was over before the worker could be killed"
    running.join(600)
    assert codes == [0]
    assert (spread / store.NAME).read_bytes() == expected


def _wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False, timeout=60) as client:
        client.wait_for_workers(count, timeout=300)
