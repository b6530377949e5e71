"""`edgerun split`: one model as two, a head for the device and a tail for the server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session
from edgerun.errors import OptionError, PolicyError
from edgerun.feeds import random_feeds
from edgerun.planner.plan import Plan
from edgerun.splits import ENCODINGS, Manifest, Part
from edgerun.splits.manifest import NAME
from edgerun_tools import common, quantize_data
from edgerun_tools.common import answers, errors
from edgerun_tools.split import latency, plot, trial
from edgerun_tools.split.cut import Cut, Splitter

RANDOM = 4
"""Inputs of random numbers where no data are given."""
CLOSE = 1e-4
"""The difference of float32 in another order; more is told."""


def write(folder: Path, model: str, cut: Cut, verified: dict[str, Any], wire: dict[str, Any], times: Any) -> Manifest:
    """head.onnx, tail.onnx and split.json. OptionError where that cannot be."""
    parts = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for role, proto, exits in (("head", cut.head, cut.head_exits), ("tail", cut.tail, cut.tail_exits)):
            file = folder / f"{role}.onnx"
            onnx.save(proto, file)
            weights = {i.name for i in proto.graph.initializer}
            parts[role] = Part(file.name, hashlib.sha256(file.read_bytes()).hexdigest(),
                               tuple(i.name for i in proto.graph.input if i.name not in weights),
                               tuple(o.name for o in proto.graph.output), exits)
        manifest = Manifest(Path(model).name, hashlib.sha256(Path(model).read_bytes()).hexdigest(), parts["head"], parts["tail"],
                            cut.tensors, wire, verified, times or {})
        (folder / NAME).write_text(manifest.dumps(), encoding="utf-8")
    except OSError as e:
        raise OptionError(f"--out {folder}: expected a folder that can be written; found: {e}") from e
    return manifest


def shares_of(model: str, policy: str, rows: Sequence[Any], plan: Plan) -> list[float]:
    """Part of the inputs that leaves at each exit under a policy; without exits, or with policy none, nothing but the last."""
    count = max(len(plan.exits), 1)
    if policy == "none" or len(plan.exits) == 0:
        return [0.0] * (count - 1) + [1.0]
    with Session(model, checks="off", exit_policy=policy) as session:
        taken = np.bincount([session.run(r).exit.index for r in rows], minlength=count)
    return [float(t) for t in taken / taken.sum()]


def command(
    model: common.Model,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="DIR", show_default=False, help=(
        "Write head.onnx, tail.onnx and split.json here; without it only show."))] = None,
    at: Annotated[list[str] | None, typer.Option("--at", metavar="TENSOR", show_default=False, help=(
        "Cut at this tensor (repeatable; all of the rest has to come from them)."))] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Cut where an answer comes soonest.")] = False,
    bandwidth: Annotated[str, typer.Option("--bandwidth", metavar="20Mbit", help="From the device to the server.")] = "20Mbit",
    rtt: Annotated[float, typer.Option("--rtt", metavar="MS", min=0, help="Round trip, in milliseconds.")] = 10.0,
    encoding: Annotated[str, typer.Option("--encoding", metavar="|".join(ENCODINGS), help=(
        "How features are written on the wire."))] = "fp32",
    device_profile: Annotated[str | None, typer.Option("--device-profile", metavar="FILE", show_default=False, help=(
        "What `edgerun bench MODEL --profile --json` printed on the device."))] = None,
    device_scale: Annotated[float, typer.Option("--device-scale", metavar="X", min=0.01, help=(
        "Without a profile: how much slower the device is than this machine."))] = 10.0,
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="SET", show_default="random numbers", help=(
        "Inputs to verify the parts on, and to count exits with."))] = None,
    part: Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
        "A fixed split of the MNIST or CIFAR-10 sets this project uses."))] = "all",
    limit: Annotated[int, typer.Option("--inputs", metavar="N", min=1, help="How many of them.")] = 100,
    exit_policy: common.ExitPolicy = "none",
    plot_file: Annotated[str | None, typer.Option("--plot", metavar="FILE.png", show_default=False, help=(
        "Draw the times of all places."))] = None,
    threads: common.Threads = None,
    as_json: common.AsJson = False,
) -> None:
    """Cut a model in two: a head for the device and a tail for the server, both ordinary ONNX files.

    Exits in front of the cut stay on the device: only inputs that do not leave there travel. The parts are run against the whole
    before they are written. JSON schema: "edgerun.split/1".

    Examples:

      edgerun split model.onnx --auto --bandwidth 5Mbit --rtt 20 --device-scale 8        show the places

      edgerun split model.onnx --auto --device-profile pi.json --data photos/ --exit-policy dart -o split/

      edgerun split model.onnx --at /layer2/Relu_output_0 --encoding int8 -o split/
    """
    if bool(at) == auto:
        raise OptionError(f"--at, --auto: expected one of them; found {'both' if auto else 'neither'}")
    link = latency.Link(latency.bits_per_second("--bandwidth", bandwidth), rtt / 1e3, encoding)
    if encoding not in ENCODINGS:
        raise OptionError(f"--encoding: expected one of {', '.join(ENCODINGS)}; found {encoding!r}")
    if exit_policy != "none" and (data is None or not auto):
        raise PolicyError(f"--exit-policy {exit_policy}: expected --auto and --data, whose inputs say how many leave where; found "
                          f"{'no data' if data is None else 'no --auto'}")
    splitter = Splitter(model)
    with Session(model, checks="off", threads=threads) as whole:
        given = None if data is None else quantize_data.load(whole, data, part, limit)
        rows = [random_feeds(whole.fixed_inputs, k) for k in range(RANDOM)] if given is None else [given[k] for k in range(len(given))]
        places, chosen, times = None, at or [], None
        if auto:
            measured = latency.measure(whole, device_profile, device_scale)
            places = latency.table(splitter, measured, link, shares_of(model, exit_policy, rows, measured.plan))
            best = latency.best(places)
            if best is None:
                raise OptionError(f"{model}: --auto: expected a place where one tensor carries all; found none; name several with --at")
            chosen, times = [best.tensor], latency.to_dict(places, link, best.tensor)
        cut = splitter.cut(chosen)
        verified, wire = trial.compare(whole, cut, rows)
    if places and plot_file:
        plot.places(plot_file, Path(model).name, places, chosen[0], link)
    written = write(Path(out), model, cut, verified, wire, times) if out else None
    if as_json:
        return common.print_json({"schema": "edgerun.split/1", "model": model, "tensors": list(cut.tensors), "exits": {
            "head": list(cut.head_exits), "tail": list(cut.tail_exits)}, "verified": verified, "wire": wire, "latency": times,
            "files": [str(Path(out) / f) for f in (written.head.file, written.tail.file, NAME)] if written and out else []})
    if places:
        _show_places(places, chosen[0], link, device_profile or f"{device_scale:g} times this machine's times")
    _show_cut(cut, verified, wire, "random numbers" if data is None else data)
    answers.print(f"written into {escape(out)}: head.onnx, tail.onnx, {NAME}" if out else "nothing written (-o DIR)", soft_wrap=True)


def _show_places(places: Sequence[latency.Row], chosen: str, link: latency.Link, device: str) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title_justify="left", title=(
        f"milliseconds an answer; {link.bandwidth / 1e6:g} Mbit/s, round trip {1e3 * link.rtt:g} ms, {link.encoding}; device: "
        f"{escape(device)}"))
    table.add_column("cut behind", overflow="fold")
    for name in ("bytes", "device", "wire", "server", "stays", "latency"):
        table.add_column(name, justify="right")
    for r in places:
        style = "bold green" if r.tensor == chosen else None
        table.add_row(escape(r.tensor), f"{r.bytes:,}", f"{r.device_ms:.3f}", f"{r.wire_ms:.2f}", f"{r.server_ms:.3f}",
                      f"{100 * r.leave:.0f} %", f"{r.latency_ms:.2f}", style=style)
    answers.print(table)
    soonest = min(places, key=lambda r: r.latency_ms)
    if soonest.tensor in (latency.DEVICE_ONLY, latency.SERVER_ONLY):
        answers.print(f"not splitting is sooner here: {escape(soonest.tensor)} {soonest.latency_ms:.2f} ms", soft_wrap=True)


def _show_cut(cut: Cut, verified: dict[str, Any], wire: dict[str, Any], source: str) -> None:
    carried = ", ".join(f"{escape(t['name'])} {t['dtype']} {t['shape']}" for t in cut.tensors)
    answers.print(f"cut at {carried}", soft_wrap=True)
    answers.print(f"exits on the device: {', '.join(cut.head_exits) or 'none'}; on the server: {', '.join(cut.tail_exits) or 'none'}",
                  soft_wrap=True)
    n = verified["inputs"]
    answers.print(f"parts against the whole, {n} inputs ({escape(source)}): {verified['same_bits']} of {n} with the same bits, worst "
                  f"difference {verified['worst']:.2g} of the largest value", soft_wrap=True)
    if not verified["worst"] <= CLOSE:
        errors.print("[yellow]the parts do not compute quite what the whole does: a cut between QuantizeLinear and DequantizeLinear, or "
                     "where two nodes run as one, rounds elsewhere; --auto offers only places where it does not", soft_wrap=True)
    for name, w in wire.items():
        told = w.get("refused") or f"{w['bytes']:,} bytes, worst difference {w['worst']:.2g}, same answer {w['same_answer']} of {n}"
        answers.print(f"  {name}: {escape(told)}", soft_wrap=True)
