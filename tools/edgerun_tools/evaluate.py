"""`edgerun eval`: accuracy, exits taken and measured time of a model on labelled images, policy by policy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session
from edgerun.errors import InputError, OptionError
from edgerun.exits import dart as dart_families
from edgerun.exits import difficulty, store
from edgerun.exits.metrics import daes
from edgerun.exits.records import Records
from edgerun.exits.simulate import simulate
from edgerun.planner.plan import Policy
from edgerun_tools import common, exit_runs, plots
from edgerun_tools.common import answers, errors

STATIC = "static"
"""The name of the baseline: the same network without its early exits, only the last exit and what it needs. A baseline
that also computed the early heads would flatter early exit."""
COMPARED = ("none", "confidence", "entropy", "dart")
"""Policies compared unless the caller names others; dart only where the model carries a calibration of it."""
BLOCK = 25
"""Images that one policy runs before the next one takes its turn on the same images."""


@dataclass
class Tally:
    """What one policy did. times in seconds, one an image; macs done, one an image; exits taken; answers."""

    times: list[float] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    alpha: list[float] = field(default_factory=list)
    findings: int = 0


def evaluate(model: str, data: str, policies: Sequence[str] | None = None, *,
             part: str = "all", limit: int | None = None, threads: int | None = None, checks: str = "maed",
             executor: str = "auto", budget_ms: float | None = None, plot: str | None = None, seed: int = 0,
             show_progress: bool = False) -> dict[str, Any]:
    """Run every policy on the same images and return the report, schema "edgerun.eval/1" (docs/early-exit.md).

    policies: names; None for those of COMPARED that the model is calibrated for. plot: needs a calibrated model.
    Time is wall-clock around each call at batch 1, input checks, difficulty and decisions included. Policies and the
    baseline take turns in blocks of images, in shuffled order. A model without exits is evaluated with policy none.
    """
    if plot:
        plots.require()
    labelled = exit_runs.load(data, part, limit)
    names = None if policies is None else list(dict.fromkeys(p.strip() for p in policies if p.strip()))
    with Session(model, threads=threads, checks=checks, executor=executor) as probe:
        tensors = exit_runs.Tensors(probe, labelled)
        exits, calibration, labels = probe.exits, probe.calibration, probe.labels
        used = {"executor": probe.executor_name, "threads": probe.threads, "checks": checks}
    if plot and calibration is None:
        raise OptionError("--plot: expected a calibrated model, found no calibration; run edgerun calibrate MODEL --data …")
    if len(exits) < 2:
        if names != ["none"]:
            errors.print(f"[yellow]note:[/yellow] {escape(model)} has no early exits: policy none only")
        names = ["none"]
    elif names is None:
        tuned = calibration is not None and "dart" in calibration.policies
        names = [n for n in COMPARED if n != "dart" or tuned]
        if not tuned:
            errors.print(f"[yellow]note:[/yellow] {escape(model)} is not calibrated: without policy dart")
    if calibration is not None and calibration.data.get("sha256") == labelled.sha256:
        errors.print("[yellow]warning:[/yellow] these are the images the model was calibrated on: the accuracy is flattered")
    sessions = {name: Session(model, threads=threads, checks=checks, executor=executor, exit_policy=name,
                              budget_ms=budget_ms if name == "deadline" else None) for name in names}
    if len(exits) > 1:
        sessions = {STATIC: Session(model, threads=threads, checks=checks, executor=executor, outputs=exits[-1:])} | sessions
    try:
        with exit_runs.bars(show_progress) as progress:
            tallies = _run(sessions, tensors, seed, lambda k, n: progress("eval", k, n))
            cost = _difficulty_cost(sessions.get("dart"), tensors)
            simulated = _fronts(model, tensors, calibration, threads, checks, executor, progress) if plot and calibration else {}
        report = _report(model, labelled, tallies, used, exits, cost, {n: s.plan.macs for n, s in sessions.items()})
        report["classes"] = len(labels)
    finally:
        for session in sessions.values():
            session.close()
    if simulated:
        report["fronts"] = simulated
        assert plot is not None
        chosen = {n: (1 / r["speedup"], 100 * r["accuracy"]) for n, r in report["policies"].items() if n in simulated}
        plots.fronts(plot, f"{escape(str(labelled.source))}, {len(labelled)} images",
                     {n: [(p["cost"], 100 * p["accuracy"]) for p in points] for n, points in simulated.items()}, chosen,
                     100 * report["policies"].get("none", report["policies"][names[0]])["accuracy"],
                     "mean time of a run, relative to the static network")
    return report


def _run(sessions: dict[str, Session], tensors: exit_runs.Tensors, seed: int, tick: exit_runs.Tick) -> dict[str, Tally]:
    rng = np.random.default_rng(seed)
    tallies = {name: Tally() for name in sessions}
    order = list(sessions)
    warm = tensors[0]
    for session in sessions.values():
        for _ in range(5):
            session.run(warm)
    for start in range(0, len(tensors), BLOCK):
        block = [tensors[i] for i in range(start, min(start + BLOCK, len(tensors)))]
        rng.shuffle(order)
        for name in order:
            session, tally = sessions[name], tallies[name]
            session.run(block[0])  # caches and threads as in a steady stream of this policy
            for x in block:
                before = time.perf_counter_ns()
                result = session.run(x)
                tally.times.append((time.perf_counter_ns() - before) / 1e9)
                if result.scores is None:
                    raise InputError(f"{session.name}: expected class scores to compare with the labels, found none; the model "
                                     "needs metadata edgerun.labels or edgerun.exits")
                tally.answers.append(int(result.scores.reshape(-1).argmax()))
                tally.exits.append(result.exit.index)
                tally.macs.append(result.macs)
                tally.findings += len(result.checks.findings)
                if result.difficulty is not None:
                    tally.alpha.append(result.difficulty)
        tick(min(start + BLOCK, len(tensors)), len(tensors))
    return tallies


def _difficulty_cost(session: Session | None, tensors: exit_runs.Tensors) -> dict[str, float] | None:
    """Time of the difficulty step and of everything up to the first exit, in microseconds, medians over images."""
    if session is None or session.plan.difficulty is None:
        return None
    first_exit = session.plan.exits[0].step
    own, all_of_it = [], []
    for i in range(min(20, len(tensors))):
        steps = session.profile(tensors[i], repeats=20)
        own.append(sum(s.us for s in steps if s.kernel == "difficulty_f32"))
        all_of_it.append(sum(s.us for s in steps[:first_exit] if s.kernel != "difficulty_f32"))
    us, exit_us = float(np.median(own)), float(np.median(all_of_it))
    return {"us": us, "exit1_us": exit_us, "share_of_exit1": us / exit_us if exit_us else float("nan")}


def _report(model: str, labelled: exit_runs.Labelled, tallies: dict[str, Tally], used: dict[str, Any],
            exits: Sequence[str], cost: dict[str, float] | None, plan_macs: dict[str, int]) -> dict[str, Any]:
    base = tallies.get(STATIC, tallies[next(iter(tallies))])
    static = np.array(base.times)
    rows = {}
    alphas = next((t.alpha for t in tallies.values() if t.alpha), [])
    alpha = float(np.mean(alphas)) if alphas else None
    static_accuracy = float(np.mean(np.array(base.answers) == labelled.labels))
    for name, t in tallies.items():
        times = np.array(t.times)
        accuracy = float(np.mean(np.array(t.answers) == labelled.labels))
        speedup = float(static.mean() / times.mean())
        count = 1 if name == STATIC else max(1, len(exits))
        shares = np.bincount(t.exits, minlength=count) / len(labelled)
        rows[name] = {
            "accuracy": accuracy, "loss_points": 100 * (static_accuracy - accuracy),
            "exit_shares": [float(s) for s in shares], "mean_macs": float(np.mean(t.macs)),
            "mean_ms": 1e3 * float(times.mean()), "median_ms": 1e3 * float(np.median(times)),
            "p95_ms": 1e3 * float(np.percentile(times, 95)),
            "speedup": speedup, "speedup_of_blocks": _speedup_of_blocks(static, times),
            "macs_ratio": plan_macs.get(STATIC, plan_macs[name]) / max(float(np.mean(t.macs)), 1.0),
            # energy is not measured: taken as proportional to time, so the energy ratio is the speed-up
            "daes": None if alpha is None else daes(accuracy, speedup, speedup, alpha),
            "findings": t.findings,
        }
    return {"schema": "edgerun.eval/1", "model": model, "data": {"name": labelled.source, "sha256": labelled.sha256,
                                                                  "images": len(labelled)},
            **used, "baseline": STATIC if STATIC in tallies else "none", "exits": list(exits), "mean_difficulty": alpha,
            "energy": "assumed proportional to time", "difficulty_cost": cost, "policies": rows}


def _speedup_of_blocks(static: np.ndarray, times: np.ndarray) -> float:
    """Median over blocks of (static / policy) mean times: what a disturbance of the machine cannot move."""
    edges = range(0, len(static), 4 * BLOCK)
    return float(np.median([static[i:i + 4 * BLOCK].mean() / times[i:i + 4 * BLOCK].mean() for i in edges]))


def _fronts(model: str, tensors: exit_runs.Tensors, calibration: store.Calibration, threads: int | None, checks: str,
            executor: str, progress: Any) -> dict[str, list[dict[str, float]]]:
    """Accuracy and cost of every policy along its front: thresholds swept, decided on this model's recorded exits. Costs are
    the exits' times measured here, relative to the static network."""
    with Session(model, threads=threads, checks=checks, executor=executor) as session:
        logits = exit_runs.record(session, tensors, lambda k, n: progress("record", k, n))
        exits = session.exits
    times = exit_runs.exit_times(model, tensors, threads, executor, checks, tick=lambda k, n: progress("time", k, n))
    static = _static_ns(model, exits, tensors, threads, checks, executor)
    config = calibration.difficulty
    raw = difficulty.components(exit_runs.Pixels(tensors), config.tau_edge)  # type: ignore[arg-type]
    records = Records(logits.astype(np.float64), tensors.data.labels, config.alpha(raw), times / static)
    sweeps: dict[str, list[Policy]] = {}
    for kind in ("confidence", "entropy"):
        tables = dart_families.Shared(kind).on(records)
        sweeps[kind] = [tables(k) for k in dart_families.Shared(kind).knobs]
    for kind in ("confidence", "entropy", "dart"):
        tuned = [store.policy_from_json(p["policy"]) for p in calibration.front.get(kind, ())]
        sweeps[f"{kind}, tuned" if kind != "dart" else kind] = tuned
    sweeps["patience"] = [Policy("patience", patience=n) for n in range(1, max(2, records.exits - 1))]
    return {name: [_point(simulate(p, records)) for p in policies] for name, policies in sweeps.items() if policies}


def _point(o: Any) -> dict[str, float]:
    return {"accuracy": o.accuracy, "cost": o.cost}


def _static_ns(model: str, exits: tuple[str, ...], tensors: exit_runs.Tensors, threads: int | None, checks: str,
               executor: str) -> float:
    with Session(model, threads=threads, checks=checks, executor=executor, outputs=exits[-1:]) as session:
        times = []
        for i in range(max(30, min(300, len(tensors)))):
            x = tensors[i % len(tensors)]
            session.run_raw([x])
            before = time.perf_counter_ns()
            session.run_raw([x])
            times.append(time.perf_counter_ns() - before)
    return float(np.percentile(times, 25))


def show(report: dict[str, Any]) -> None:
    """The table that the command prints."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("policy")
    exits = len(report["exits"]) > 1
    for name in ("accuracy %", "loss", *(("exits %",) if exits else ()), "M MACs", "mean ms", "speed-up", "DAES"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, r in report["policies"].items():
        shares = "/".join(f"{100 * s:.0f}" for s in r["exit_shares"])
        table.add_row(name, f"{100 * r['accuracy']:.2f}", f"{r['loss_points']:+.2f}", *((shares,) if exits else ()),
                      f"{r['mean_macs'] / 1e6:.2f}", f"{r['mean_ms']:.3f}", f"{r['speedup']:.2f}x",
                      "–" if r["daes"] is None else f"{r['daes']:.2f}")
    answers.print(table)
    answers.print(f"{report['data']['images']} images of {escape(report['data']['name'])}; {report['executor']}, "
                  f"{report['threads']} threads, checks {report['checks']}; loss and speed-up against {report['baseline']}"
                  + ("" if report["mean_difficulty"] is None else f"; mean difficulty {report['mean_difficulty']:.3f}"))
    cost = report["difficulty_cost"]
    if cost:
        answers.print(f"difficulty estimate: {cost['us']:.1f} µs, {100 * cost['share_of_exit1']:.1f} % of the way to exit 1 "
                      f"({cost['exit1_us']:.1f} µs)")
    found = sum(r["findings"] for r in report["policies"].values())
    if found:
        errors.print(f"[bold red]{found} findings[/bold red] of the checks: the machine or the model is at fault")


def command(
    model: common.Model,
    data: Annotated[str, typer.Option("--data", "-d", metavar="SET", show_default=False, help=(
        "Test images: .npz with x, y; a folder or .tar of images by class."))],
    policy: Annotated[str | None, typer.Option("--policies", "--exit-policy", "-p", metavar="NAME,NAME…", help=(
        "Exit policies to compare."), show_default="none,confidence,entropy, and dart where calibrated")] = None,
    part: Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
        "A fixed split of the MNIST or CIFAR-10 sets this project uses."))] = "all",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only this many images, spread evenly.")] = None,
    threads: common.Threads = None,
    checks: common.Checks = "maed",
    budget_ms: Annotated[float | None, typer.Option("--budget-ms", help="Time budget of policy deadline.")] = None,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE.png", help=(
        "Plot accuracy over cost with every policy's threshold swept (calibrated models)."))] = None,
    as_json: common.AsJson = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the order in which policies take turns.")] = 0,
    executor: common.Executor = "auto",
) -> None:
    """Measure a model on labelled images: accuracy, exits taken, work and time, policy by policy.

    Speed-up and loss are against the network without its early exits, measured in the same run on the same images.

    Examples:

      edgerun eval model.onnx --data test.npz

      edgerun eval model.onnx --data test.npz --policies none,dart --threads 1 --json

      edgerun eval model.onnx --data test.npz --plot fronts.png
    """
    report = evaluate(model, data, None if policy is None else policy.split(","), part=part, limit=limit, threads=threads, checks=checks,
                      executor=executor, budget_ms=budget_ms, plot=plot, seed=seed, show_progress=not as_json)
    if as_json:
        common.print_json(report)
    else:
        show(report)
        if plot:
            answers.print(f"fronts plotted into {escape(plot)}")
    if any(r["findings"] for r in report["policies"].values()):
        raise typer.Exit(common.FAULT_FOUND)
