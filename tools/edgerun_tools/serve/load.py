"""Load on `edgerun serve`: many clients for long, arrivals that do not wait, overload and recovery; every answer is checked bit for bit.

    python -m edgerun_tools.serve.load models/zoo/cifar10_resnet18/model.onnx --data $EDGERUN_DATA/sets/cifar10_test_5k.npz --seconds 600

A server is started for it, on this machine only. Exit code 6 where a claim does not hold. docs/serving-load.md
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from edgerun.errors import EdgeRunError
from edgerun_tools.common import fail
from edgerun_tools.serve import load_clients, load_phases
from edgerun_tools.serve.load_phases import Tally
from edgerun_tools.serve.load_report import claims, markdown
from edgerun_tools.serve.load_server import Memory, Server
from edgerun_tools.serve.load_work import Work, prepare

SCHEMA = "edgerun.load/1"
NOT_HELD = 6
CONNECTIONS = 192
"""Of our side in the open loops; the server refuses beyond 256 messages at once."""


async def measured(server: Server, phase: Awaitable[Tally], **more: Any) -> tuple[Tally, dict[str, Any]]:
    """A phase, and its summary with the server's share of one processor in it and `more`."""
    cpu, began = server.cpu_s(), time.perf_counter()
    tally = await phase
    share = (server.cpu_s() - cpu) / (time.perf_counter() - began)
    return tally, tally.summary() | {"server_share": round(share, 3), **more}


async def soak(server: Server, work: Sequence[Work], o: argparse.Namespace) -> dict[str, Any]:
    """`clients` clients in a closed loop, and an open one at 60 % of what they got; memory all the while."""
    clients = load_clients.make(o.protocol, o.clients, server.http, server.grpc)
    await load_phases.closed(clients, work, o.warm)
    memory = Memory(server)
    watching = asyncio.create_task(memory.watch())
    tally, all_of_them = await measured(server, load_phases.closed(clients, work, o.seconds), clients=o.clients)
    watching.cancel()
    rate = 0.6 * tally.goodput
    _, arrivals = await measured(server, load_phases.opened(clients, work, rate, o.short), rate_per_s=round(rate, 1))
    for c in clients:
        await c.close()
    return {"closed": all_of_them, "memory": memory.summary(), "open": arrivals}


async def overload(server: Server, work: Sequence[Work], o: argparse.Namespace) -> dict[str, Any]:
    """Unloaded (one client), peak (as many as the workers and their queue take), `times` the peak in arrivals, and one client again."""
    alone = load_clients.make(o.protocol if o.protocol != "both" else "http", 1, server.http, server.grpc)
    waiting = min(o.queue or 2 * server.workers, 2 * server.workers)
    peakers = load_clients.make(o.protocol, server.workers + waiting, server.http, server.grpc)
    crowd = load_clients.make(o.protocol, CONNECTIONS, server.http, server.grpc)
    await load_phases.closed(peakers, work, o.warm)
    _, before = await measured(server, load_phases.closed(alone, work, o.short))
    most, peak = await measured(server, load_phases.closed(peakers, work, o.short), clients=len(peakers))
    rate = o.times * most.goodput
    _, crowded = await measured(server, load_phases.opened(crowd, work, rate, o.short, drop=True), rate_per_s=round(rate, 1))
    ended = time.perf_counter()
    again, after = await measured(server, load_phases.closed(alone, work, o.short))
    first = round(again.ends[0] - ended, 3) if again.ends else None
    for c in [*alone, *peakers, *crowd]:
        await c.close()
    return {"unloaded": before, "peak": peak, "overload": crowded, "recovery": after | {"first_answer_s": first}}


def run(o: argparse.Namespace) -> dict[str, Any]:
    """Both servers, one after the other: with a queue that takes all clients, then with the default one."""
    work = prepare(o.model, o.data, o.inputs, o.exit_policy)
    options = ["--exit-policy", o.exit_policy, *(["--workers", str(o.workers)] if o.workers else [])]
    with Server(o.model, {"queue": 2 * o.clients}, options) as server:
        first = asyncio.run(soak(server, work, o))
    with Server(o.model, {"queue": o.queue} if o.queue else {}, options) as server:
        second = asyncio.run(overload(server, work, o))
    settings = {"protocol": o.protocol, "inputs": len(work), "exit_policy": o.exit_policy, "workers": server.workers}
    return {"schema": SCHEMA, "model": o.model, "data": Path(o.data).name, "settings": settings, "processors": os.cpu_count(),
            "machine": platform.machine(), "busy_before": round(os.getloadavg()[0], 2), "soak": first, "overload": second}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.serve.load", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="ONNX file, or folder of `edgerun split`")
    parser.add_argument("--data", required=True, help="images as for `edgerun eval`")
    parser.add_argument("--inputs", type=int, default=64, help="different inputs (default 64)")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the long phase (default 600)")
    parser.add_argument("--short", type=float, default=20.0, help="seconds of each other phase (default 20)")
    parser.add_argument("--warm", type=float, default=5.0, help="seconds that are not counted")
    parser.add_argument("--times", type=float, default=5.0, help="overload: arrivals as a multiple of the peak (default 5)")
    parser.add_argument("--protocol", choices=("http", "grpc", "both"), default="both")
    parser.add_argument("--exit-policy", default="none")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--queue", type=int, help="overload: the server's queue (default: the server's)")
    parser.add_argument("--json", metavar="FILE", help="the whole report")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; the tables go to stdout."""
    o = arguments().parse_args(argv)
    try:
        report = run(o)
    except EdgeRunError as e:
        fail(type(e).__name__, str(e))
        return e.exit_code
    if o.json:
        Path(o.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(markdown(report))
    return 0 if all(holds for _, _, holds in claims(report)) else NOT_HELD


if __name__ == "__main__":
    sys.exit(main())
