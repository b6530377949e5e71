"""`edgerun device` as a process, against a real server and a real broker; kill -9 of all three in turn."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing

import pytest
from brokers import free_port, needs_mosquitto, python
from servers import ROOT

from edgerun_tools.cli import main

SAMPLE = ROOT / "models/samples/digit_3.png"


@pytest.fixture
def key_file(service, tmp_path):
    service.key.save(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def _signed(service, key_file, tmp_path, kind="http"):
    return ["--server", service.url(kind), "--model", "digits", "--name", "cam-1", "--key", str(key_file),
            "--state", str(tmp_path / "state")]


def _lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_one_answer(service, key_file, parts, tmp_path, capsys, kind):
    assert main(["device", str(parts), *_signed(service, key_file, tmp_path, kind), "--input", str(SAMPLE), "--json"]) == 0
    (page,) = _lines(capsys.readouterr().out)
    assert page["schema"] == "edgerun.device/1" and page["where"] == "server" and page["attempts"] == 1 and page["exit"] == "final"
    assert page["top"][0]["label"] == "3"
    assert page["ms"] >= page["remote_ms"] > 0


def test_answers_in_words(service, key_file, parts, tmp_path, capsys):
    assert main(["device", str(parts), *_signed(service, key_file, tmp_path), "--input", str(SAMPLE), "--exit-policy", "dart"]) == 0
    assert main(["device", str(parts), "--input", str(SAMPLE)]) == 0
    shown = capsys.readouterr()
    assert "digit_3.png: 3 " in shown.out and "fallback to exit2" in shown.out and "no_server" in shown.err


def test_no_fallback_is_code_8(service, parts, tmp_path, capsys):
    assert main(["device", str(parts), "--server", "http://127.0.0.1:9", "--input", str(SAMPLE), "--no-fallback"]) == 8
    assert "unreachable" in capsys.readouterr().err


@pytest.mark.parametrize("options", [
    [], ["--watch", "x", "--input", "y"], ["--input", "x", "--mqtt", "h"], ["--input", "x", "--encoding", "f"],
    ["--input", "x", "--server", "http://example.org"]])
def test_options_that_do_not_fit(parts, options, capsys):
    assert main(["device", str(parts), *options]) == 2
    assert "expected" in capsys.readouterr().err


COLLECTOR = """
import sys, time
from edgerun.broker import Broker
from edgerun.serve.collector import Collector
with Collector(sys.argv[1], Broker("127.0.0.1", int(sys.argv[2]))) as collector:
    collector.wait_ready(30)
    print("ready", flush=True)
    time.sleep(600)
"""


def _wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


class Watching:
    """`edgerun device --watch` as a process."""

    def __init__(self, arguments, log):
        self._arguments, self._log = arguments, log
        self.process = None

    def start(self):
        out = open(self._log, "a")
        self.process = subprocess.Popen([sys.executable, "-m", "edgerun_tools", "device", *self._arguments], stdout=out)
        out.close()

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        return self.process.wait(30)

    def answered(self):
        return _lines(self._log.read_text()) if self._log.exists() else []


@needs_mosquitto
def test_kill_9_of_server_broker_and_device_in_turn(doomed, mosquitto, parts, tmp_path):
    """Every frame gets an answer; every answer that was given is in the collector's database, once."""
    frames, log, stored = tmp_path / "frames", tmp_path / "answers.jsonl", tmp_path / "c.db"
    frames.mkdir()
    doomed.key.save(tmp_path / "key.pem")
    device = Watching([str(parts), *_signed(doomed, tmp_path / "key.pem", tmp_path), "--watch", str(frames), "--timeout", "10",
                       "--retries", "5", "--mqtt", f"127.0.0.1:{mosquitto.port}", "--json"], log)

    def put(first, count):
        for k in range(first, first + count):
            shutil.copy(SAMPLE, frames / f".{k}.png")
            os.rename(frames / f".{k}.png", frames / f"{k:04d}.png")

    def rows():
        with closing(sqlite3.connect(stored)) as db:
            return db.execute("SELECT boot, n, json_extract(event, '$.where') FROM events").fetchall()

    with ExitStack() as stack:
        assert python(stack, COLLECTOR, stored, mosquitto.port).stdout.readline() == "ready\n"
        device.start()
        stack.callback(lambda: device.process.poll() is None and device.kill())
        total = 0
        for victim in ("server", "broker", "device", "server", "broker", "device"):
            put(total, 20)
            total += 20
            assert _wait(lambda: len(device.answered()) >= total - 15, 60)  # noqa: B023 - in the middle of them
            if victim == "server":
                doomed.kill()
                doomed.start()
            elif victim == "broker":
                mosquitto.kill()
                mosquitto.start()
            else:
                device.kill()
                device.start()
        assert _wait(lambda: not list(frames.glob("*.png")), 90)
        assert _wait(lambda: len(rows()) >= len(device.answered()), 60)
        assert device.kill(signal.SIGTERM) == 0
    answered = device.answered()
    assert {os.path.basename(a["input"]) for a in answered} == {f"{k:04d}.png" for k in range(total)}
    assert all(a["top"][0]["label"] == "3" for a in answered)
    found = rows()
    assert len({(boot, n) for boot, n, _ in found}) == len(found)
    by_boot = {boot: sorted(n for b, n, _ in found if b == boot) for boot, _, _ in found}
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_boot.values())  # no gap: nothing was lost
    assert len(answered) <= len(found) <= len(answered) + 2  # an event is on disk before the answer is printed: two kills, two at most
    assert len(answered) <= total + 2  # a frame that was under way when the device was killed is answered again


@needs_mosquitto
def test_serve_collects_what_a_device_reports(parts, mosquitto, tmp_path):
    """Both commands as processes, as the manual has them; only the broker is between them."""
    stored, port = tmp_path / "events.db", free_port()
    words = [sys.executable, "-m", "edgerun_tools"]
    with open(tmp_path / "serve.log", "w") as log:
        server = subprocess.Popen([*words, "serve", f"parts={parts}", "--insecure", "--http-port", str(port), "--grpc-port", "-1",
                                   "--metrics-port", "-1", "--mqtt", f"127.0.0.1:{mosquitto.port}", "--mqtt-store", str(stored)],
                                  stderr=log)
    try:
        assert _wait(lambda: '"ready"' in (tmp_path / "serve.log").read_text(), 60)
        done = subprocess.run([*words, "device", str(parts), "--server", f"http://127.0.0.1:{port}", "--model", "parts", "--name", "cam-7",
                               "--state", str(tmp_path / "state"), "--mqtt", f"127.0.0.1:{mosquitto.port}", "--json", "--timeout", "30",
                               "--input", str(SAMPLE)], capture_output=True, text=True, timeout=120)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    (answer,) = _lines(done.stdout)
    with closing(sqlite3.connect(stored)) as db:
        (row,) = db.execute("SELECT device, n, event FROM events").fetchall()
    assert done.returncode == 0 and "wait" not in done.stderr
    assert row[:2] == ("cam-7", 1) and json.loads(row[2])["where"] == answer["where"] == "server"
    assert '"stored": 1' in (tmp_path / "serve.log").read_text()
