"""`edgerun device`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from edgerun.device import Answer, Broker, Device, DeviceKey, Spool, State, Telemetry, Tls
from edgerun.errors import DataError, InputError, OptionError
from edgerun.feeds import Sample, read_samples
from edgerun.splits import ENCODINGS
from edgerun_tools import common
from edgerun_tools.common import answers, errors
from edgerun_tools.device.watch import Watch


def command(
    head: Annotated[str, typer.Argument(metavar="FOLDER", show_default=False, help=(
        "What `edgerun split` wrote: head.onnx and split.json (tail.onnx may be missing here)."))],
    server: Annotated[str | None, typer.Option("--server", "-s", metavar="URL", show_default=False, help=(
        "https://HOST:PORT or grpcs://HOST:PORT (http and grpc on this machine). Without it the deepest exit answers."))] = None,
    model: Annotated[str | None, typer.Option("--model", show_default="name of the folder", help="Name of the tail at the server.")] = None,
    name: Annotated[str, typer.Option("--name", metavar="ID", show_default=False, help=(
        "Name of this device, as the server's key ring has it; needed with --key and --mqtt."))] = "",
    key: Annotated[str | None, typer.Option("--key", metavar="FILE.key", show_default=False, help=(
        "Private key of this device (`edgerun keys new`): every message is signed."))] = None,
    state: Annotated[str | None, typer.Option("--state", metavar="DIR", show_default=False, help=(
        "Folder of this device alone: the number of its last start, and events not yet delivered. Needed with --key and --mqtt."))] = None,
    input: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="FILE|DIR|-|NAME=FILE", help=(
        "An image, .npy, .npz, a folder of them, or - for standard input (repeatable)."))] = None,
    watch: Annotated[str | None, typer.Option("--watch", metavar="DIR", show_default=False, help=(
        "Answer every file that comes into this folder, and move it to DIR/.done, until SIGTERM."))] = None,
    exit_policy: common.ExitPolicy = "none",
    thresholds: common.Thresholds = None,
    encoding: Annotated[str, typer.Option("--encoding", metavar="|".join(ENCODINGS), help="How features travel.")] = "fp32",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For the server's answer, all attempts together.")] = 5.0,
    retries: Annotated[int, typer.Option("--retries", min=0, help="Attempts after the first.")] = 2,
    fallback: Annotated[bool, typer.Option("--fallback/--no-fallback", help=(
        "Without the server, answer with the deepest exit; or fail, with exit code 8."))] = True,
    ca: Annotated[str | None, typer.Option("--ca", metavar="PEM", show_default="the system's", help="Authority of the server.")] = None,
    cert: Annotated[str | None, typer.Option("--cert", metavar="PEM", help="Certificate of this device, for mutual TLS.")] = None,
    cert_key: Annotated[str | None, typer.Option("--cert-key", metavar="PEM", help="Its key.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow http:// and grpc:// to another machine.")] = False,
    mqtt: Annotated[str | None, typer.Option("--mqtt", metavar="BROKER", show_default=False, help=(
        "Report every answer to mqtts://USER:PASSWORD@HOST:PORT (or HOST:PORT without TLS); kept in --state until it is stored."))] = None,
    mqtt_ca: Annotated[str | None, typer.Option("--mqtt-ca", metavar="PEM", help="Authority of the broker.")] = None,
    mqtt_cert: Annotated[str | None, typer.Option("--mqtt-cert", metavar="PEM", help="Certificate of this device for the broker.")] = None,
    mqtt_key: Annotated[str | None, typer.Option("--mqtt-key", metavar="PEM", help="Its key.")] = None,
    mqtt_confirm: Annotated[str, typer.Option("--mqtt-confirm", metavar="collector|broker", help=(
        "When an event is forgotten here: once `edgerun serve --mqtt` has stored it, or once the broker has it."))] = "collector",
    checks: common.Checks = "maed",
    threads: common.Threads = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to show.")] = 3,
    as_json: common.AsJson = False,
) -> None:
    """Run the head of a split model here, and ask a server for the rest.

    An input leaves at an exit that is sure enough (--exit-policy); if none is, its features travel. The server is asked again where that
    can help, within --timeout; where it stays away the deepest exit answers, the reason is told, and the server is tried again by itself.

    Examples:

      edgerun split model.onnx --auto -o parts/ && edgerun serve parts/ --insecure        on the server

      edgerun device parts/ --server http://127.0.0.1:8000 --input digit.png              on this machine, a trial

      edgerun device parts/ --server https://edge.lan:8000 --ca ca.pem --name cam-1 --key cam-1.key --state /var/lib/cam-1 \\
          --exit-policy dart --watch /run/frames --mqtt mqtts://broker.lan --json

    Exit codes: 0 answered, 2 options, 3 model, 4 input, 5 a fault that was not cured, 8 no answer."""
    if (not input) == (watch is None):
        raise OptionError(f"expected --input FILE or --watch DIR; found {'both' if input else 'neither'}")
    if mqtt and not (name and state):
        raise OptionError("--mqtt: expected --name and --state with it: events have an author, and wait on the disk; found one or neither")
    with ExitStack() as stack:
        kept = stack.enter_context(closing(State(state))) if state else None
        telemetry = None
        if mqtt and kept:
            broker = Broker.parse(mqtt, ca=mqtt_ca, cert=mqtt_cert, key=mqtt_key)
            spool = stack.enter_context(closing(Spool(kept.spool, name)))
            telemetry = stack.enter_context(Telemetry(spool, broker, confirm=mqtt_confirm))
        device = stack.enter_context(Device(
            head, server, model=model, name=name, key=DeviceKey.load(key) if key else None, state=kept, exit_policy=exit_policy,
            encoding=encoding, tls=Tls(ca, cert, cert_key), fallback=fallback, telemetry=telemetry,
            remote={"timeout_s": timeout, "retries": retries, "insecure": insecure}, checks=checks, threads=threads,
            thresholds=common.parse_thresholds(thresholds)))
        faulty = _watch(device, watch, top, as_json) if watch else _answer_all(device, input or [], top, as_json)
        if telemetry is not None and not watch and not telemetry.drain(timeout):
            errors.print(f"[yellow]{len(telemetry.spool)} events wait[/yellow] in --state for the broker; the next start sends them",
                         soft_wrap=True)
    if faulty:
        raise typer.Exit(common.FAULT_FOUND)


def _answer_all(device: Device, specs: list[str], top: int, as_json: bool) -> bool:
    """Whether a fault was found and not cured."""
    faulty = False
    for sample in _samples(device, specs):
        faulty |= _answer(device, sample, top, as_json)
    return faulty


def _watch(device: Device, folder: str, top: int, as_json: bool) -> bool:
    watch = Watch(folder, _sigterm())
    faulty = False
    for file in watch:
        try:
            for sample in _samples(device, [str(file)]):
                faulty |= _answer(device, sample, top, as_json)
        except (DataError, InputError) as e:  # one bad file stops nothing
            common.fail("input", str(e))
        watch.done(file)
    return faulty


def _sigterm() -> Callable[[], bool]:
    """Whether SIGTERM came; from now on it ends nothing else."""
    came: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    return lambda: bool(came)


def _samples(device: Device, specs: list[str]) -> Iterator[Sample]:
    return read_samples(specs, device.session.inputs, device.session.preprocess)


def _answer(device: Device, sample: Sample, top: int, as_json: bool) -> bool:
    with common.naming(sample.source):
        answer = device.infer(sample.feeds)
    if as_json:
        common.print_json({"schema": "edgerun.device/1", "input": sample.source, **to_dict(answer, top)})
    else:
        _show(sample.source, answer, top)
    return not all(f.cured for f in answer.findings)


def to_dict(answer: Answer, top: int) -> dict[str, Any]:
    """The JSON form, schema "edgerun.device/1": the event of telemetry, and more of the classes."""
    return {**answer.event(), "detail": answer.detail, "top": [{"label": label, "probability": p} for label, p in answer.best(top)]}


def _show(source: str, answer: Answer, top: int) -> None:
    classes = ", ".join(f"{escape(label)} {100 * p:.1f} %" for label, p in answer.best(top)) or ", ".join(map(escape, answer.outputs))
    where = f"fallback to {answer.exit}" if answer.where == "fallback" else answer.where
    answers.print(f"{escape(Path(source).name)}: {classes} · {escape(where)} · {answer.ms:.1f} ms (here {answer.head_ms:.1f}, "
                  f"server {answer.remote_ms:.1f})", soft_wrap=True)
    if answer.reason:
        detail = f" ({escape(answer.detail)})" if answer.detail else ""
        errors.print(f"[yellow]no answer of the server:[/yellow] {escape(answer.reason)}{detail}", soft_wrap=True)
