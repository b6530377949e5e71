"""`edgerun serve`."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Annotated, Any

import typer

from edgerun.errors import OptionError
from edgerun_tools.common import fail

DRAINED_LATE = 1
SWITCH_S = 5e-4
"""A worker that is done waits so long for the interpreter while the event loop is busy; Python's own 5 ms are longer than many a run."""

NICE = 5
"""Steps of nice by which the event loop is less urgent than the workers."""


def command(
    ctx: typer.Context,
    models: Annotated[list[str] | None, typer.Argument(metavar="[NAME=]MODEL…", show_default=False, help=(
        "ONNX files, or folders of `edgerun split`, whose tail is served. NAME:2=MODEL is version 2 of NAME."))] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on, for HTTP and gRPC.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option("--http-port", min=-1, max=65535, help="0: any free one; -1: no HTTP.")] = 8000,
    grpc_port: Annotated[int, typer.Option("--grpc-port", min=-1, max=65535, help="0: any free one; -1: no gRPC.")] = 8001,
    metrics_port: Annotated[int, typer.Option("--metrics-port", min=-1, max=65535, help=(
        "/metrics on a port of its own, on 127.0.0.1; 0: any free one; -1: none."))] = 8002,
    insecure: Annotated[bool, typer.Option("--insecure", help=(
        "Serve anybody, without TLS and keys: for trials, on loopback addresses only."))] = False,
    allowed_host: Annotated[list[str] | None, typer.Option("--allowed-host", metavar="NAME", help=(
        "Answer plain HTTP requests from this machine whose Host is NAME, too, as of a proxy here that hands it on (repeatable; *: any)."))
    ] = None,
    tls_cert: Annotated[str | None, typer.Option("--tls-cert", metavar="PEM", help="Certificate chain of this server.")] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", metavar="PEM", help="Its key.")] = None,
    client_ca: Annotated[str | None, typer.Option("--client-ca", metavar="PEM", help=(
        "Authorities of clients' certificates: without such a certificate nobody gets past the handshake."))] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="FILE|redis://…", help=(
        "Ring of the devices' keys (edgerun keys): every message has to be signed by one of them."))] = None,
    replay: Annotated[str | None, typer.Option("--replay", metavar="FILE|redis://…", show_default="replay.db beside the ring", help=(
        "Where used sequence numbers are kept."))] = None,
    power_safe: Annotated[bool, typer.Option("--power-safe", help=(
        "Wait for the disk at each of them (SQLite): a loss of power forgets none."))] = False,
    max_age: Annotated[float | None, typer.Option("--max-age", metavar="SECONDS", help=(
        "Refuse signed messages whose time of sending is further from this clock."))] = None,
    gateway: Annotated[bool, typer.Option("--gateway", help=(
        "Certificates are those of gateways: their names need not be those of the devices that signed."))] = False,
    verify_key: Annotated[list[str] | None, typer.Option("--verify-key", metavar="MAKER.pem.pub", help=(
        "Serve only models and detectors signed by this maker (edgerun sign; repeatable): exit code 7 for others."))] = None,
    exit_policy: Annotated[str, typer.Option("--exit-policy", metavar="NAME", help=(
        "When models with early exits may stop: none, confidence, entropy, patience, deadline, dart."))] = "none",
    checks: Annotated[str, typer.Option("--checks", metavar="PRESET|KINDS", help=(
        "What is verified in every run (docs/checks.md)."))] = "standard",
    on_fault: Annotated[str, typer.Option("--on-fault", metavar="abort|retry|flag|exit-early|restrict", help=(
        "About a fault that computing again does not cure. abort: no answer (500); the others answer, and say so."))] = "abort",
    threads: Annotated[int, typer.Option("--threads", "--num-threads", "-x", min=1, help="Threads of one worker.")] = 1,
    workers: Annotated[int | None, typer.Option("--workers", min=1, max=256, show_default="physical cores", help=(
        "Runs at once; each has a session of every model."))] = None,
    detector: Annotated[list[str] | None, typer.Option("--detector", metavar="NAME=DETECTOR.onnx", help=(
        "Attack detector of a model (repeatable); a split folder's detector.onnx is found by itself."))] = None,
    on_attack: Annotated[str, typer.Option("--on-attack", metavar="refuse|flag", help=(
        "refuse: 422 and no answer; flag: answered, with the parameter attack."))] = "refuse",
    judge: Annotated[str, typer.Option("--judge", metavar="after|before", help=(
        "after: the detector sees the tail's answer, too, which is surer; before: an alarm keeps the tail from running."))] = "after",
    fpr: Annotated[float, typer.Option("--fpr", help="False alarms of the detector, one of the rates that it was trained for.")] = 0.05,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests a second of one device; beyond: 429.")] = None,
    drain: Annotated[float | None, typer.Option("--drain", metavar="SECONDS", show_default="10", help=(
        "Time for accepted requests after SIGTERM."))] = None,
    mqtt: Annotated[str | None, typer.Option("--mqtt", metavar="BROKER", show_default=False, help=(
        "Collect what devices report (`edgerun device --mqtt`), and show it on the page. A broker as mqtts://USER:PASSWORD@HOST:PORT, or "
        "HOST:PORT without TLS."))] = None,
    mqtt_store: Annotated[str, typer.Option("--mqtt-store", metavar="FILE", help="SQLite file for the reports, each once.")] = "events.db",
    mqtt_ca: Annotated[str | None, typer.Option("--mqtt-ca", metavar="PEM", help="Authority of the broker.")] = None,
    mqtt_cert: Annotated[str | None, typer.Option("--mqtt-cert", metavar="PEM", help="Our certificate for the broker.")] = None,
    mqtt_key: Annotated[str | None, typer.Option("--mqtt-key", metavar="PEM", help="Its key.")] = None,
    config: Annotated[str | None, typer.Option("--config", metavar="FILE.toml", help=(
        "These options by their long names, models, detectors and \\[limits] (docs/serving.md). The command line wins."))] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line for every request.")] = False,
) -> None:
    """Serve models by the Open Inference Protocol v2, over HTTP and gRPC: `tritonclient` works unchanged.

    Secure by default: give --tls-cert, --tls-key and --client-ca, and --keys (docs/security.md). For a trial on this machine:

      edgerun serve digits=models/zoo/digits_mlp/model.onnx --insecure

      curl http://127.0.0.1:8000/v2/models/digits

    Log: JSON, a line each request, on stderr. SIGTERM or Ctrl-C: not ready, accepted requests are finished, then the end.

    Exit codes: 0 drained; 1 requests had to be cancelled; 2 options (or an address that cannot be had); 3 a model;
    7 a model that is not signed as --verify-key asks."""
    from edgerun.serve import turns
    from edgerun_tools.serve.config import models as named
    from edgerun_tools.serve.config import read, typed

    options = dict(ctx.params)
    entries = read(options.pop("config"), [k for k in options if k not in ("models", "detector")]) if config else {}
    for name in set(options) & set(entries) - {"models"}:
        if ctx.get_parameter_source(name).name == "DEFAULT":  # type: ignore[union-attr]
            options[name] = typed(name, entries[name], options[name])
    options["models"] = entries.get("models", {}) | named(models or [])
    options["detectors"] = entries.get("detectors", {}) | named(detector or [])
    options["limits"], options["model"] = entries.get("limits", {}), entries.get("model", {})
    if not options["models"]:
        raise OptionError("expected at least one model: edgerun serve MODEL.onnx --insecure")
    sys.setswitchinterval(SWITCH_S)
    late = turns.run(_serve(options))
    if late:
        fail("error", f"{late} requests were not done within the time for draining, and were cancelled")
        raise typer.Exit(DRAINED_LATE)


async def _serve(o: dict[str, Any]) -> int:
    """Until SIGTERM or SIGINT; requests that were cancelled."""
    from edgerun.serve import JsonLog, ModelOptions, Server, TlsFiles
    from edgerun.serve.keygate import open_gate
    from edgerun.serve.signing import Verifier
    from edgerun_tools.serve import config

    tls = None
    if o["tls_cert"] or o["tls_key"] or o["client_ca"]:
        if not (o["tls_cert"] and o["tls_key"]):
            raise OptionError("TLS: expected --tls-cert and --tls-key together; found one of them, or --client-ca alone")
        tls = TlsFiles(o["tls_cert"], o["tls_key"], o["client_ca"])
    log = JsonLog()
    settings = ModelOptions(exit_policy=o["exit_policy"], checks=o["checks"], on_fault=o["on_fault"], threads=o["threads"],
                            workers=o["workers"], on_attack=o["on_attack"], judge=o["judge"], fpr=o["fpr"])
    gate = None
    if o["keys"]:
        gate = open_gate(o["keys"], o["replay"], max_age_s=o["max_age"], power_safe=o["power_safe"],
                         bind_certificate=bool(o["client_ca"]) and not o["gateway"])
    elif o["replay"] or o["max_age"] or o["power_safe"] or o["gateway"]:
        raise OptionError("--replay, --max-age, --power-safe, --gateway: expected --keys beside them; found none")
    server = Server(o["models"], host=o["host"], http_port=_port(o["http_port"]), grpc_port=_port(o["grpc_port"]),
                    metrics_port=_port(o["metrics_port"]), tls=tls, insecure=o["insecure"], options=settings,
                    allowed_hosts=o["allowed_host"] or (),
                    limits=config.limits(o["limits"], {"rate": o["rate"], "drain_s": o["drain"]}), detectors=o["detectors"],
                    model_options=config.of_models(o["model"], settings),
                    gate=gate, verify=Verifier(o["verify_key"]) if o["verify_key"] else None, observers=[] if o["quiet"] else [log])
    collector = None
    if o["mqtt"]:
        from edgerun.broker import Broker
        from edgerun.serve.collector import Collector

        collector = Collector(o["mqtt_store"], Broker.parse(o["mqtt"], ca=o["mqtt_ca"], cert=o["mqtt_cert"], key=o["mqtt_key"]),
                              on_event=server.monitor.reports)
        server.monitor.reports.collector = collector
    elif o["mqtt_ca"] or o["mqtt_cert"] or o["mqtt_key"]:
        raise OptionError("--mqtt-ca, --mqtt-cert, --mqtt-key: expected --mqtt beside them; found none")
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await server.start()
    server.core.pool.put_ahead(NICE)
    log.say("ready", host=server.host, http=server.http_port, grpc=server.grpc_port, metrics=server.metrics_port,
            models={s.name: s.sha256 for s in server.models}, detectors=[s.name for s in server.models if s.detectors],
            workers=server.core.pool.workers, insecure=o["insecure"])
    watching = asyncio.create_task(_broker(collector, log)) if collector is not None else None
    await ended.wait()
    if watching is not None:
        watching.cancel()
    log.say("draining", messages=server.core.messages)
    late = await server.stop()
    if gate is not None:
        await gate.close()
    if collector is not None:
        log.say("collected", **collector.counts)
        await asyncio.to_thread(collector.close)
    log.say("stopped", cancelled=late)
    return late


async def _broker(collector: Any, log: Any) -> None:
    """Say whether the broker is reached: after some seconds, and whenever that changes."""
    said = None
    while True:
        await asyncio.sleep(3 if said is None else 1)
        if (now := collector.connected) != said:
            said = now
            log.say("broker", connected=now)


def _port(number: int) -> int | None:
    return None if number < 0 else number
