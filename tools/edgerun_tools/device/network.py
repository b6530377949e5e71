"""Latency of a split model over real links: `python -m edgerun_tools.device.network`.

A server and a device, two processes in two network namespaces; between them the kernel's netem delays, loses and slows the packets.
Needs root. Where the kernel has no netem (containers, small virtual machines) --uml boots one that has: Debian's user-mode-linux, an
ordinary process that runs this trial as its only one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgerun.errors import EdgeRunError, OptionError
from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import Entry, write_ring
from edgerun_tools import cli, common
from edgerun_tools.data import data_root
from edgerun_tools.device import namespaces, uml
from edgerun_tools.device.namespaces import DEVICE_NS, LINKS, SERVER_IP, SERVER_NS, Link
from edgerun_tools.serve import tls

PORTS, NAME = {"http": 8000, "grpc": 8001}, "device"
SLOW_KBIT = 1000
"""Links below that get a quarter of the inputs: an answer takes seconds."""


def trial(model: str, at: str, data: str, policy: str, scale: int, inputs: int, links: list[Link],
          transports: list[str]) -> dict[str, Any]:
    """By link and way: see `ways.measure`. Mutual TLS and signed messages, as in the field."""
    if reason := namespaces.why_not():
        raise OptionError(f"network trial: {reason}; --uml boots a kernel that has it")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parts, ring = folder / "parts", folder / "keys.json"
        with redirect_stdout(sys.stderr):
            if cli.main(["split", model, "--at", at, "-o", str(parts), "--data", data, "--inputs", "20", "--json"]):
                raise OptionError(f"network trial: expected a model that can be split at {at}")
        files = tls.write(folder / "tls", [SERVER_IP], [NAME], days=1)
        key = DeviceKey.generate()
        key.save(folder / "key.pem")
        write_ring(ring, [Entry(NAME, key.public.hex())])
        stack.enter_context(namespaces.cable())
        ports = [w for t, port in PORTS.items() for w in (f"--{t}-port", str(port if t in transports else -1))]
        words = ["serve", f"whole={model}", f"parts={parts}", "--host", SERVER_IP, *ports, "--metrics-port", "-1", "--tls-cert",
                 str(files["server"]), "--tls-key", str(files["server key"]), "--client-ca", str(files["authority"]), "--keys", str(ring),
                 "--checks", "maed", "--workers", "1", "--quiet"]
        server = stack.enter_context(subprocess.Popen(
            namespaces.inside(SERVER_NS, [sys.executable, "-m", "edgerun_tools", *words]), stderr=subprocess.DEVNULL))
        stack.callback(server.terminate)
        _wait_for(server, PORTS[transports[-1]])  # gRPC listens last
        plan = {"model": model, "parts": str(parts), "data": data, "scale": scale, "name": NAME,
                "servers": {t: f"{t}s://{SERVER_IP}:{PORTS[t]}" for t in transports},
                "key": str(folder / "key.pem"), "exit_policy": policy, "state": str(folder / "state"),
                "tls": [str(files[k]) for k in ("authority", NAME, f"{NAME} key")]}
        found = {}
        for link in links:
            namespaces.shape(link)
            plan["inputs"] = inputs if link.kbit >= SLOW_KBIT else max(inputs // 4, 1)
            done = subprocess.run(namespaces.inside(DEVICE_NS, [sys.executable, "-m", "edgerun_tools.device.ways", json.dumps(plan)]),
                                  stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise OptionError(f"network trial: {link.name}: the device's process ended with {done.returncode}")
            found[link.name] = json.loads(done.stdout)
            print(f"{link.name} done", file=sys.stderr, flush=True)
    return found


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    code = f"import socket; socket.create_connection(('{SERVER_IP}', {port}), 1)"
    end = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < end:
        if subprocess.run(namespaces.inside(SERVER_NS, [sys.executable, "-c", code]), stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.5)
    raise OptionError("network trial: expected the server to listen; it ended or took too long")


def table(found: dict[str, Any], links: list[Link]) -> str:
    """Markdown: a row for each way, p50 / p99 in milliseconds for each link, and what the answers are worth."""
    ways = list(next(iter(found.values())))
    rows = []
    for way in ways:
        all_of = [found[link.name][way] for link in links]
        n = sum(len(w["ms"]) for w in all_of)
        times = ["{:.0f} / {:.0f}".format(*np.percentile(w["ms"], (50, 99))) for w in all_of]
        here = sum(w["where"].get("device", 0) for w in all_of)
        rows.append([way, *times, f"{100 * here / n:.0f} %", *(f"{sum(w[k] for w in all_of)} of {n}" for k in ("bits", "same"))])
    heads = [f"{link.name}: {link.rtt_ms:g} ms, {link.kbit / 1000:g} Mbit/s, {link.loss:g} % lost" for link in links]
    return common.markdown_table(["", *heads, "answered on the device", "same bits", "same class"], rows)


def command(
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="With early exits.")] = "models/zoo/cifar10_resnet18/model.onnx",
    at: Annotated[str, typer.Option("--at", metavar="TENSOR", help="Where it is cut.")] = "/segments.2/segments.2.1/relu/Relu_output_0",
    data: Annotated[str, typer.Option("--data", metavar="SET", help="Real inputs.")] = str(data_root() / "sets/cifar10_test_5k.npz"),
    policy: Annotated[str, typer.Option("--exit-policy")] = "dart",
    scale: Annotated[int, typer.Option("--device-scale", min=1, help="The device computes every run so many times over.")] = 20,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="A quarter of them on links below 1 Mbit/s.")] = 100,
    link: Annotated[list[str] | None, typer.Option("--link", metavar="NAME", show_default="all", help=(
        ", ".join(link.name for link in LINKS)))] = None,
    transport: Annotated[str, typer.Option("--transport", metavar="http,grpc", help=(
        "How features travel: each of these ways for each of the transports."))] = "http,grpc",
    boot: Annotated[bool, typer.Option("--uml", help="In a user-mode Linux (apt install user-mode-linux kmod).")] = False,
    as_json: common.AsJson = False,
) -> None:
    """End-to-end latency of device only, server only, split, and split with early exit over several links, by HTTP and gRPC, as a table
    in Markdown."""
    links = [one for one in LINKS if not link or one.name in link]
    if not links:
        raise OptionError(f"--link: expected one of {', '.join(one.name for one in LINKS)}; found {', '.join(link or [])}")
    transports = [t for t in PORTS if t in transport.split(",")]
    if not transports or set(transport.split(",")) - set(PORTS):
        raise OptionError(f"--transport: expected http, grpc or both, with a comma; found {transport!r}")
    if boot:
        words = ["--model", model, "--at", at, "--data", data, "--exit-policy", policy, "--device-scale", str(scale),
                 "--inputs", str(inputs), "--transport", transport,
                 *(w for one in links for w in ("--link", one.name)), *(["--json"] if as_json else [])]
        print(uml.run([sys.executable, "-m", "edgerun_tools.device.network", *words]), end="")
        return
    found = trial(model, at, data, policy, scale, inputs, links, transports)
    if as_json:
        common.print_json({"schema": "edgerun.network/1", "ways": found})
    else:
        print(table(found, links), end="")


def main() -> int:
    """The command; errors as one line and their exit code."""
    try:
        typer.run(command)
    except EdgeRunError as e:
        common.fail("error", str(e))
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
