"""A server to be tested, in a process of its own on this machine, and its memory and processor time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgerun.errors import OptionError
from edgerun_tools.serve.load_work import MODEL

START_S, STOP_S = 60.0, 20.0


class Server:
    """`edgerun serve MODEL --insecure` on free ports of 127.0.0.1. limits: entries of [limits]; options: further ones of the command."""

    def __init__(self, model: str, limits: Mapping[str, float], options: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgerun-load-")
        page, log = Path(self._folder.name) / "serve.toml", Path(self._folder.name) / "log"
        page.write_text("[limits]\n" + "".join(f"{k} = {v}\n" for k, v in limits.items()), encoding="utf-8")
        command = [sys.executable, "-m", "edgerun_tools", "serve", f"{MODEL}={model}", "--insecure", "--quiet", "--http-port", "0",
                   "--grpc-port", "0", "--metrics-port", "-1", "--config", str(page), *options]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stderr=out, stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        ready = self._ready(log)
        self.http, self.grpc, self.workers = int(ready["http"]), int(ready["grpc"]), int(ready["workers"])

    def _ready(self, log: Path) -> dict[str, Any]:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            for line in log.read_text(encoding="utf-8").splitlines():
                if line.startswith("{") and (entry := json.loads(line))["event"] == "ready":
                    return dict(entry)
            time.sleep(0.05)
        said = log.read_text(encoding="utf-8")[-500:]
        self.stop()
        raise OptionError(f"load: expected `edgerun serve` to be ready within {START_S:.0f} s; it said: {said}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int | None:
        """SIGTERM; the exit status."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._folder.cleanup()

    def rss_kib(self) -> int:
        """Resident memory now."""
        return _status(self.pid, "VmRSS:")

    def cpu_s(self) -> float:
        """Processor time so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OptionError(f"load: expected {name} in /proc/{pid}/status; found none (Linux only)")


class Memory:
    """Resident memory of the server, sampled every `every_s` while a phase runs."""

    def __init__(self, server: Server, every_s: float = 1.0) -> None:
        self._server, self._every_s = server, every_s
        self.kib = array("d")

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.kib.append(self._server.rss_kib())
            await asyncio.sleep(self._every_s)

    def summary(self) -> dict[str, Any]:
        """growth_kib: the median of the last fifth of the samples minus that of the second fifth (the first is warm-up).
        series_kib: up to 60 samples at equal distances, to see whether it is a slope or a step."""
        kib = np.frombuffer(self.kib)
        fifth = max(1, len(kib) // 5)
        return {"samples": len(kib), "first_kib": int(kib[0]), "peak_kib": int(kib.max()), "last_kib": int(kib[-1]),
                "growth_kib": int(np.median(kib[-fifth:]) - np.median(kib[fifth : 2 * fifth] if len(kib) > fifth else kib)),
                "series_kib": kib[:: -(-len(kib) // 60)].astype(int).tolist()}


__all__ = ["Memory", "Server"]
