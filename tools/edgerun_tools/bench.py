"""`edgerun bench`: how long a run takes here, what the checks cost, and how other runtimes do on the same input."""

from __future__ import annotations

import hashlib
import resource
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import edgerun
from edgerun import InferenceSession, Session
from edgerun.errors import EdgeRunError, OptionError
from edgerun.feeds import random_feeds, read_samples
from edgerun.options import default_threads
from edgerun_tools import common, profiling
from edgerun_tools.common import answers, errors
from edgerun_tools.info import cpu_model, governor
from edgerun_tools.peers import PEERS
from edgerun_tools.timing import Call, Timing, interleave, ratio

OURS, UNCHECKED = "edgerun", "edgerun, checks off"


def command(
    model: common.Model,
    input: Annotated[str | None, typer.Option("--input", "-i", metavar="FILE", show_default="random numbers", help=(
        "An image, .npy or .npz."))] = None,
    against: Annotated[str | None, typer.Option("--against", metavar="ort,litert,openvino,mnn", help=(
        "Other runtimes to time in the same rounds."))] = None,
    litert_model: Annotated[str | None, typer.Option("--litert-model", metavar="FILE.tflite", help=(
        "The same network for LiteRT."))] = None,
    threads: common.Threads = None,
    duration: Annotated[float, typer.Option("--duration", "-t", min=0.1, help="Seconds of timing.")] = 5.0,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, show_default="what fits", help=(
        "Rounds, instead of --duration."))] = None,
    warmup: Annotated[int, typer.Option("--warmup", "-w", min=0, help="Untimed runs of each backend.")] = 10,
    profile: Annotated[bool, typer.Option("--profile", help=(
        "Add the time of every step, and sums by operator and by kernel."))] = False,
    trace: Annotated[str | None, typer.Option("--trace", metavar="FILE.json", help=(
        "Write profiled runs as trace events, for Perfetto or chrome://tracing."))] = None,
    exit_policy: common.ExitPolicy = "none",
    checks: Annotated[str, typer.Option("--checks", metavar="maed|maed-paper|off|both", help=(
        "both: also time without checks and report what they cost."))] = "maed",
    as_json: common.AsJson = False,
    seed: common.Seed = 0,
    shape: common.Shape = None,
    executor: common.Executor = "auto",
) -> None:
    """Time a model: percentiles over interleaved rounds, and ratios to other runtimes.

    In each round every backend runs a block of calls, in random order; a ratio is the median over the rounds of
    (their time / ours), so slow drifts of the machine cancel. JSON schema: "edgerun.bench/1".

    Examples:

      edgerun bench model.onnx --threads 1 --checks both

      edgerun bench model.onnx --against ort,openvino --duration 20

      edgerun bench model.onnx --profile --trace trace.json --input photo.jpg
    """
    if checks not in ("maed", "maed-paper", "off", "both"):
        raise OptionError(f"--checks: expected maed, maed-paper, off or both; found {checks!r}")
    names = [n.strip() for n in (against or "").split(",") if n.strip()]
    unknown = [n for n in names if n not in PEERS]
    if unknown:
        raise OptionError(f"--against: expected {', '.join(PEERS)}; found {', '.join(unknown)}")
    threads = threads or default_threads()
    started = time.perf_counter()
    session = Session(model, exit_policy=exit_policy, checks="maed" if checks == "both" else checks, threads=threads,
                      shapes=common.parse_shapes(shape), executor=executor)
    load_ms = (time.perf_counter() - started) * 1e3
    feeds = _feeds(session, input, seed)
    calls: dict[str, Call] = {OURS: _own(model, session, feeds, exit_policy)}
    if checks == "both":
        bare = Session(model, exit_policy=exit_policy, checks="off", threads=threads, shapes=common.parse_shapes(shape),
                       executor=executor)
        calls[UNCHECKED] = _own(model, bare, feeds, exit_policy)
    for name in names:
        calls[name] = _peer(name, Path(model), feeds, threads, Path(litert_model) if litert_model else None)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=errors,
                  transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("timing " + ", ".join(calls), total=None)
        timings = interleave(calls, rounds=rounds, duration_s=duration, warmup=warmup, seed=seed,
                             progress=partial(bar.advance, task))
    report = _report(model, session, feeds, timings, threads, exit_policy, checks, input, seed, load_ms)
    report["agreement"] = {n: _difference(calls[OURS](), calls[n]()) for n in names} if exit_policy == "none" else {}
    if profile or trace:
        profiled = profiling.measure(session, feeds, report["latency_ms"]["p50"])
        report |= profiling.to_dict(profiled) if profile else {}
    if as_json:
        common.print_json(report)
    else:
        show(report)
    if trace:
        profiling.save_trace(trace, profiled, model)
    if report["findings"]:
        raise typer.Exit(common.FAULT_FOUND)


def _peer(name: str, model: Path, feeds: dict[str, np.ndarray], threads: int, litert_model: Path | None) -> Call:
    """A peer that has answered once; OptionError with its own words when it cannot run the model."""
    try:
        call = PEERS[name](model, feeds, threads, litert_model)
        call()
    except EdgeRunError:
        raise
    except Exception as e:  # every runtime raises its own kinds
        raise OptionError(f"--against {name}: expected that it runs {model}; it says: {type(e).__name__}: {e}; leave it "
                          "out of --against") from e
    return call


def _feeds(session: Session, spec: str | None, seed: int) -> dict[str, np.ndarray]:
    if spec is None:
        return random_feeds(session.fixed_inputs, seed)
    sample = next(iter(read_samples([spec], session.inputs, session.preprocess)))
    with common.naming(sample.source):
        session.check(sample.feeds)
    return sample.feeds


def _own(model: str, session: Session, feeds: dict[str, np.ndarray], exit_policy: str) -> Call:
    """Our side of the comparison through the call that ONNX Runtime's users make (with a policy: Session.run)."""
    if exit_policy != "none":
        return partial(session.run, feeds)
    return partial(InferenceSession.of(session).run, None, feeds)


def _report(model: str, session: Session, feeds: dict[str, np.ndarray], timings: dict[str, Timing], threads: int,
            exit_policy: str, checks: str, spec: str | None, seed: int, load_ms: float) -> dict[str, Any]:
    ours = timings[OURS]
    result = session.run(feeds)
    plan = session.plan_for(feeds)
    report: dict[str, Any] = {
        "schema": "edgerun.bench/1", "model": model,
        "model_sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest(),
        "version": edgerun.__version__, "executor": session.executor_name, "threads": threads, "checks": checks,
        "exit_policy": exit_policy, "input": spec or f"random, seed {seed}",
        "shapes": {n: list(x.shape) for n, x in feeds.items()},
        "rounds": len(ours.rounds), "runs": len(ours.calls), "load_ms": load_ms, "latency_ms": ours.summary(),
        "backends": {n: {"runs": len(t.calls), "latency_ms": t.summary()} for n, t in timings.items()},
        "ratios": {n: ratio(t, ours) for n, t in timings.items() if n not in (OURS, UNCHECKED)},
        "exit": {"index": result.exit.index, "of": result.exit.of, "name": result.exit.name},
        "findings": len(result.checks.findings),
        "macs": plan.macs, "arena_bytes": plan.arena_bytes, "weight_bytes": sum(c.nbytes for c in plan.constants),
        "peak_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "cpu_model": cpu_model(), "isa": edgerun.build_info()["isa"], "governor": governor(),
        "temperature_c": _temperature(),
    }
    if UNCHECKED in timings:
        overhead = ratio(ours, timings[UNCHECKED])
        report["checks_overhead"] = {k: v - 1 for k, v in overhead.items()}
    return report


def _difference(ours: list[np.ndarray], theirs: Any) -> float | None:
    """Largest difference of all outputs, relative to the largest magnitude; None where outputs cannot be paired."""
    other = list(theirs.values()) if hasattr(theirs, "values") else list(theirs)
    if len(other) != len(ours) or any(np.size(a) != np.size(b) for a, b in zip(ours, other, strict=True)):
        return None
    x, y = (np.concatenate([np.asarray(a, np.float64).ravel() for a in side]) for side in (ours, other))
    return float(np.abs(x - y).max() / max(np.abs(y).max(), 1e-30)) if x.size else 0.0


def _temperature() -> float | None:
    try:
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text()) / 1000
    except (OSError, ValueError):
        return None


def show(report: dict[str, Any]) -> None:
    """The report as tables for people."""
    if report["governor"] not in (None, "performance"):
        errors.print(f"[yellow]warning:[/yellow] CPU frequency governor is {report['governor']!r}: times will vary; "
                     "set it to performance for measurements")
    if report["findings"]:
        errors.print(f"[bold red]{report['findings']} check findings[/bold red]: see edgerun run with the same input")
    answers.print(f"{escape(report['model'])}: {report['macs'] / 1e6:.2f} M multiply-adds, arena "
                  f"{report['arena_bytes'] / 1024:.0f} KiB, weights {report['weight_bytes'] / 1024:.0f} KiB")
    answers.print(f"{report['executor']} executor ({report['isa'] or 'Python kernels'}), {report['threads']} threads, "
                  f"checks {report['checks']}, policy {report['exit_policy']}, input {escape(report['input'])}, "
                  f"{report['rounds']} rounds")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ms")
    for name in ("p50", "p90", "p95", "p99", "min", "first", "runs", "their time / ours"):
        table.add_column(name, justify="right")
    for name, backend in report["backends"].items():
        t = backend["latency_ms"]
        r = report["ratios"].get(name)
        table.add_row(escape(name), *(f"{t[k]:.3f}" for k in ("p50", "p90", "p95", "p99", "min", "first")),
                      str(backend["runs"]), f"{r['median']:.2f} ({r['p25']:.2f} – {r['p75']:.2f})" if r else "")
    answers.print(table)
    if "checks_overhead" in report:
        o = report["checks_overhead"]
        answers.print(f"checks cost {100 * o['median']:.1f} % ({100 * o['p25']:.1f} – {100 * o['p75']:.1f} %)")
    for name, difference in report["agreement"].items():
        text = "outputs cannot be paired" if difference is None else f"largest relative difference {difference:.1e}"
        answers.print(f"{name}: {text}")
    if "profile" in report:
        profiling.show(report)
