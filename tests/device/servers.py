"""A real `edgerun.serve` in a process of its own, with keys of devices, to be killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from brokers import free_port

from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import Entry, KeyRing, write_ring

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/zoo/mnist_alexnet/model.onnx"
CUT = "/segments.2/segments.2.1/segments.2.1.2/Relu_output_0"
"""Behind the second of three exits."""
SERVER = """
import asyncio, json, os, signal, sys
from edgerun.serve import JsonLog, ModelOptions, Server, TlsFiles
from edgerun.serve.keygate import KeyGate
from edgerun.serve.settings import ServeLimits
from edgerun.serve.stores import open_keys, open_replay

o = json.loads(sys.argv[1])
log = os.open(o["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(e):
    os.write(log, (json.dumps([e.request_id, e.outcome, e.reason, e.compute_ms]) + "\\n").encode())

async def main():
    gate = KeyGate(open_keys(o["keys"]), open_replay(o["replay"])) if o["keys"] else None
    tls = TlsFiles(*o["tls"]) if o["tls"] else None
    server = Server(o["models"], http_port=o["http"], grpc_port=o["grpc"], gate=gate, tls=tls,
                    insecure=not gate and not tls, observers=[note], options=ModelOptions(workers=1), limits=ServeLimits(**o["limits"]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await server.start()
    print("ready", flush=True)
    await ended.wait()
    await server.stop()

asyncio.run(main())
"""


class Service:
    """models: name → path. tls: (cert, key, client CA or None)."""

    def __init__(self, folder: Path, models: dict[str, Path], *, keys: bool = True, tls: tuple[str, str, str | None] | None = None,
                 **limits: float) -> None:
        self.http, self.grpc = free_port(), free_port()
        self.log, self.ring = folder / "events.log", folder / "keys.json"
        write_ring(self.ring, [])
        self.fresh()
        self.tls = tls
        self._options = {"models": {k: str(v) for k, v in models.items()}, "http": self.http, "grpc": self.grpc, "log": str(self.log),
                         "tls": tls, "keys": str(self.ring) if keys else None, "replay": str(folder / "replay.db"), "limits": limits}
        self.process: subprocess.Popen[str] | None = None

    def fresh(self) -> Service:
        """A new key for the device cam-1; events are counted from here."""
        self.key = DeviceKey.generate()
        KeyRing(self.ring).put(Entry("cam-1", self.key.public.hex()))
        self._seen = len(self._lines())
        return self

    def url(self, kind: str) -> str:
        secure = "s" if self.tls else ""
        return f"{kind}{secure}://127.0.0.1:{self.grpc if kind == 'grpc' else self.http}"

    def start(self) -> Service:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, json.dumps(self._options)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def events(self) -> list[tuple[str, str, str, float]]:
        """(id of the work, outcome, reason, milliseconds of the run) of every message, oldest first."""
        return [tuple(json.loads(line)) for line in self._lines()[self._seen:]]

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []
