"""`edgerun calibrate`: learn from a calibration split when a model may leave early, and write that into the model file."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session, __version__
from edgerun.errors import DataError, OptionError
from edgerun.exits import KEY, Calibration, dart, difficulty, store, tuning
from edgerun.exits.records import Records
from edgerun.exits.simulate import leave_at
from edgerun.planner.plan import Policy
from edgerun_tools import common, exit_runs, metadata, plots
from edgerun_tools.common import answers

LEAST_IMAGES = 200
FRONT_POINTS = 12


@dataclass(frozen=True)
class Report:
    """The calibration, and what to tell about it. rows: per policy name, its tuned family; forms: dart's forms and their
    cross-validated cost; weights: (AUC of the weights used, of the paper's) of alpha against "the first exit is wrong"."""

    calibration: Calibration
    rows: dict[str, tuning.Tuned]
    last: float
    forms: tuple[tuple[str, float], ...]
    weights: tuple[float, float]
    exit_accuracy: tuple[float, ...]
    images: int


def calibrate(model: str, data: str, out: str | None = None, *, part: str = "all", max_loss: float = 1.0,
              beta: float | None = None, threads: int | None = None, executor: str = "auto", search_weights: bool = False,
              plot: str | None = None, show_progress: bool = False, seed: int = 0, timing_s: float = 6.0) -> Report:
    """Calibrate a model with exits and write the result into its metadata (in place, or to `out`).

    max_loss: points of accuracy that leaving early may cost against the last exit; beta: fixed beta_opt (price of a full
    run in accuracy, Eq. 10) instead; timing_s: seconds spent on timing the exits. The data must not be what the model is
    tested on. DataError, PolicyError, ModelError.
    """
    if plot:
        plots.require()
    if not 0 <= max_loss <= 100:
        raise OptionError(f"--max-loss: expected points of accuracy between 0 and 100, found {max_loss}")
    if beta is not None and not beta > 0:
        raise OptionError(f"--beta: expected a price above 0, found {beta}")
    labelled = exit_runs.load(data, part)
    if len(labelled) < LEAST_IMAGES:
        raise DataError(f"{labelled.source}: expected at least {LEAST_IMAGES} images to calibrate with, found "
                        f"{len(labelled)}")
    blob = metadata.without(model, KEY)
    with exit_runs.bars(show_progress) as progress:
        with Session(blob, threads=threads, executor=executor) as session:
            exit_runs.require_exits(session)
            tensors = exit_runs.Tensors(session, labelled)
            logits = exit_runs.record(session, tensors, lambda k, n: progress("run", k, n))
            used, how_many = session.executor_name, session.threads
        times = exit_runs.exit_times(blob, tensors, threads, executor, seconds=timing_s,
                                     tick=lambda k, n: progress("time", k, n))
        pixels: Any = exit_runs.Pixels(tensors)
        config = difficulty.fit(pixels)
        wrong = logits[0].argmax(axis=1) != labelled.labels
        raw = difficulty.components(pixels, config.tau_edge)
        held = given = difficulty.auc(config.alpha(raw), wrong)
        if search_weights:
            config, held, given = difficulty.search_weights(config, raw, wrong, seed=seed,
                                                            progress=lambda k, n: progress("weights", k, n))
        costs = times / times[-1]
        records = Records(logits.astype(np.float64), labelled.labels, config.alpha(raw), costs)
        choice = dart.choose(records, max_loss, seed=seed, progress=progress)
        rows = _tune(records, choice, max_loss, beta, seed, progress)
    last = float(records.correct[-1].mean())
    calibration = Calibration(
        store.graph_digest(onnx.load_model_from_string(blob)), config, {name: t.policy for name, t in rows.items()},
        tuple(map(float, np.diff(times, prepend=0.0))), tuple(map(float, costs)),
        {"machine": platform.machine(), "processor": _processor(), "threads": how_many, "executor": used,
         "edgerun": __version__},
        {"name": labelled.source, "sha256": labelled.sha256, "images": len(labelled)},
        {name: {"accuracy": t.point.accuracy, "cost": t.point.cost, "loss": t.point.loss, "loss_error": t.point.error,
                "agreement": t.point.agreement, "form": t.family} for name, t in rows.items()} |
        {"max_loss": max_loss, "last_exit_accuracy": last},
        {name: [{"knob": p.knob, "accuracy": p.accuracy, "cost": p.cost, "loss": p.loss,
                 "policy": store.policy_to_json(q)} for p, q in _thinned(t.front)]
         for name, t in rows.items() if name in ("dart", "confidence", "entropy")})
    metadata.embed(model, out or model, KEY, store.dumps(calibration))
    if plot:
        _plot(plot, model, rows, last)
    return Report(calibration, rows, last, choice.costs, (held, given), tuple(map(float, records.correct.mean(axis=1))),
                  len(labelled))


def _tune(records: Records, choice: dart.Choice, max_loss: float, beta: float | None, seed: int, progress: Any
          ) -> dict[str, tuning.Tuned]:
    families: dict[str, tuple[tuning.Family, ...]] = {"confidence": dart.plain("confidence"),
                                                      "entropy": dart.plain("entropy"), "dart": (choice.form,)}
    total, done = tuning.FOLDS * sum(len(f.knobs) + 1 for each in families.values() for f in each), [0]

    def tick() -> None:
        done[0] += 1
        progress("tune", min(done[0], total), total)

    rows = {}
    for name, members in families.items():
        tuned = [tuning.tune(f, records, max_loss, knob=beta if name == "dart" else None, seed=seed, tick=tick)
                 for f in members]
        best = min(tuned, key=lambda t: t.point.cost)
        if best.policy.kind == "none":  # nothing is careful enough: tables that never leave keep the policy's name
            best = replace(best, policy=Policy(kind=name, thresholds=(2.0,) * (records.exits - 1)))  # type: ignore[arg-type]
        rows[name] = best
    progress("tune", total, total)
    rows["patience"] = _patience(records, max_loss)
    return {name: rows[name] for name in ("dart", "confidence", "entropy", "patience")}


def _patience(records: Records, max_loss: float) -> tuning.Tuned:
    front = []
    for count in range(1, max(2, records.exits - 1)):
        policy = Policy("patience", patience=count)
        front.append((tuning.point(float(count), leave_at(policy, records), records), policy))
    legal = [pair for pair in front if pair[0].bound() <= max_loss] or front[-1:]
    chosen = min(legal, key=lambda pair: pair[0].cost)
    return tuning.Tuned("agreeing exits", chosen[1], chosen[0], tuple(front))


def _thinned(front: tuple[tuple[tuning.Point, Policy], ...]) -> list[tuple[tuning.Point, Policy]]:
    """The different points of a front in order of cost, at most FRONT_POINTS, ends included."""
    points = list({(p.cost, p.accuracy): (p, q) for p, q in sorted(front, key=lambda pair: pair[0].cost)}.values())
    pick = np.unique(np.linspace(0, len(points) - 1, min(FRONT_POINTS, len(points))).round().astype(int))
    return [points[i] for i in pick]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _plot(path: str, model: str, rows: dict[str, tuning.Tuned], last: float) -> None:
    series = {name: [(p.cost, 100 * p.accuracy) for p, _ in t.front] for name, t in rows.items()}
    chosen = {name: (t.point.cost, 100 * t.point.accuracy) for name, t in rows.items()}
    plots.fronts(path, f"{Path(model).parent.name or Path(model).name}: calibration split, cross-validated", series, chosen,
                 100 * last, "mean time of a run, relative to the last exit")


def show(report: Report, out: str) -> None:
    """The tables that the command prints."""
    c = report.calibration
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=f"exits, {report.images} images",
                  title_justify="left")
    for name in ("exit", "accuracy %", "time, µs", "share of last"):
        table.add_column(name, justify="right")
    for i, cost in enumerate(c.costs):
        table.add_row(str(i + 1), f"{100 * report.exit_accuracy[i]:.2f}", f"{sum(c.segment_ns[:i + 1]) / 1e3:.1f}", f"{cost:.3f}")
    answers.print(table)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title="cross-validated operating points",
                  title_justify="left")
    table.add_column("policy")
    for name in ("accuracy %", "loss", "± ", "speed-up"):
        table.add_column(name, justify="right")
    table.add_column("form")
    for name, tuned in report.rows.items():
        p = tuned.point
        table.add_row(name, f"{100 * p.accuracy:.2f}", f"{p.loss:+.2f}", f"{p.error:.2f}", f"{1 / p.cost:.2f}x",
                      escape(tuned.family))
    answers.print(table)
    answers.print(f"difficulty: tau_edge {c.difficulty.tau_edge:.4f}, weights "
                  f"{', '.join(f'{w:.3f}' for w in c.difficulty.weights)}; AUC against \"first exit is wrong\" "
                  f"{report.weights[0]:.3f}" + (f" (paper's weights {report.weights[1]:.3f})"
                                                if report.weights[0] != report.weights[1] else ""))
    answers.print(f"written into {escape(out)} (metadata {KEY})")


def to_dict(report: Report) -> dict[str, Any]:
    """The JSON form, schema "edgerun.calibrate/1"."""
    c = report.calibration
    return {"schema": "edgerun.calibrate/1", "images": report.images, "data": dict(c.data), "costs": list(c.costs),
            "segment_ns": list(c.segment_ns), "exit_accuracy": list(report.exit_accuracy), "expected": dict(c.expected),
            "policies": {name: store.policy_to_json(p) for name, p in c.policies.items()},
            "forms": dict(report.forms), "alpha_auc": {"used": report.weights[0], "paper": report.weights[1]},
            "calibrated_on": dict(c.calibrated_on)}


def command(
    model: common.Model,
    data: Annotated[str, typer.Option("--data", "-d", metavar="SET", show_default=False, help=(
        "Calibration images: .npz with x, y; a folder or .tar of images by class. Never the test set."))],
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", show_default="in place", help=(
        "Write the calibrated model here."))] = None,
    part: Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
        "A fixed split of the MNIST or CIFAR-10 sets this project uses."))] = "all",
    max_loss: Annotated[float, typer.Option("--max-loss", metavar="POINTS", help=(
        "Accuracy that leaving early may cost, in points, kept with a safety margin."))] = 1.0,
    beta: Annotated[float | None, typer.Option("--beta", metavar="PRICE", show_default="chosen by --max-loss", help=(
        "beta_opt: the price of a full run in accuracy (0..1)."))] = None,
    threads: common.Threads = None,
    search_weights: Annotated[bool, typer.Option("--search-weights", help=(
        "Search the weights of the difficulty's components instead of the paper's 0.4/0.3/0.3."))] = False,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE.png", help="Plot the accuracy/cost fronts.")] = None,
    as_json: common.AsJson = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the cross-validation.")] = 0,
    executor: common.Executor = "auto",
) -> None:
    """Learn when a model with early exits may stop, and write it into the model file.

    Runs the images, measures the time to each exit on this machine, tunes the policies dart, confidence and entropy so that
    they lose at most --max-loss points (cross-validated), and embeds the result (docs/early-exit.md).

    Examples:

      edgerun calibrate model.onnx --data calibration.npz

      edgerun calibrate model.onnx --data calibration/ --max-loss 0.5 --plot fronts.png -o calibrated.onnx
    """
    report = calibrate(model, data, out, part=part, max_loss=max_loss, beta=beta, threads=threads, executor=executor,
                       search_weights=search_weights, plot=plot, show_progress=not as_json, seed=seed)
    if as_json:
        common.print_json(to_dict(report))
    else:
        show(report, out or model)
