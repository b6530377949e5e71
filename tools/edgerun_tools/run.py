"""`edgerun run`: one answer per input, with the exit taken, the time and what was checked."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Result, Session
from edgerun.errors import DataError, OptionError
from edgerun.feeds import Sample, random_feeds, read_samples
from edgerun_tools import common
from edgerun_tools.common import answers, errors

OUTPUT_ROWS = 12
"""Outputs, or samples of a batch, that the table shows."""


def command(
    model: common.Model,
    input: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="FILE|DIR|-|NAME=FILE", help=(
        "An image, .npy, .npz, a folder of them, or - for standard input (repeatable)."))] = None,
    exit_policy: common.ExitPolicy = "none",
    checks: common.Checks = "maed",
    on_fault: common.OnFault = None,
    fault_log: common.FaultLog = None,
    threads: common.Threads = None,
    as_json: common.AsJson = False,
    labels: Annotated[str | None, typer.Option("--labels", metavar="FILE", help="Class names, one a line.")] = None,
    top: Annotated[int, typer.Option("--top", min=0, show_default="5 when classes are known", help=(
        "How many of the most probable classes to show."))] = 0,
    random: Annotated[bool, typer.Option("--random", help="Run on random numbers: no answer, a smoke test.")] = False,
    seed: common.Seed = 0,
    shape: common.Shape = None,
    thresholds: common.Thresholds = None,
    budget_ms: Annotated[float | None, typer.Option("--budget-ms", help="Time budget of policy deadline.")] = None,
    patience: common.Patience = None,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="Let the thresholds of policy dart adapt.")] = False,
    adaptive_state: Annotated[str | None, typer.Option("--adaptive-state", metavar="FILE.json", help=(
        "Go on from what --adaptive learned before (where the file exists), and save it there."))] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Runs per input; the time shown is their median.")] = 1,
    warmup: Annotated[int, typer.Option("--warmup", "-w", min=0, help=(
        "Runs before the first timed one (C++ engine): memory is touched, threads are awake."))] = 1,
    save_outputs: Annotated[str | None, typer.Option("--save-outputs", metavar="FILE.npz", help=(
        "Write all computed outputs; several inputs: NAME_0, NAME_1 …"))] = None,
    executor: common.Executor = "auto",
    strict: common.Strict = False,
    max_memory: common.MaxMemory = None,
    timeout: common.Timeout = None,
    bound: common.Bound = None,
) -> None:
    """Run a model on images or arrays.

    The answer is printed as a table; with --json as one JSON object per input, one a line (schema "edgerun.run/1").
    Images are prepared as the model's metadata says (edgerun.preprocess).

    Examples:

      edgerun model.onnx --input digit.png --exit-policy dart

      edgerun model.onnx --input photos/ --json > answers.jsonl

      edgerun model.onnx --input audio=wave.npy --input state=zeros.npy

      cat photo.jpg | edgerun model.onnx --input - --labels imagenet.txt

      edgerun model.onnx --random --shape x=1x3x224x224
    """
    if bool(input) == random:
        raise OptionError("expected --input FILE or --random, found " + ("both" if random else "neither") +
                          "; --input takes an image, .npy, .npz, a folder or -, --random makes numbers up")
    with Session(model, exit_policy=exit_policy, checks=checks, on_fault=on_fault, fault_log=fault_log, threads=threads,
                 executor=executor, strict=strict, shapes=common.parse_shapes(shape), adaptive=adaptive, budget_ms=budget_ms,
                 patience=patience,
                 thresholds=common.parse_thresholds(thresholds), labels=common.read_labels(labels),
                 **common.bounds(max_memory, timeout, bound)) as session:
        if adaptive_state and session.adaptive is None:
            raise OptionError("--adaptive-state belongs to --adaptive; found it alone")
        if adaptive_state and session.adaptive and (learned := _read_state(adaptive_state)) is not None:
            session.adaptive.load_state_dict(learned)
        if random:
            errors.print("[yellow]note:[/yellow] random input: the answer means nothing")
            samples = [Sample(f"random, seed {seed}", random_feeds(session.fixed_inputs, seed))]
        else:
            samples = list(read_samples(input or [], session.inputs, session.preprocess))
        results = []
        if samples and session.executor_name == "engine":
            with common.naming(samples[0].source):
                for _ in range(warmup):
                    session.run_raw(session.check(samples[0].feeds))
        for sample in samples:
            result = _median_of(session, sample, repeat)
            results.append(result)
            if as_json:
                common.print_json({"input": sample.source, **to_dict(result, top or 5)})
        if not as_json:
            show_one(samples[0], results[0], top) if len(samples) == 1 else show_many(samples, results)
        if adaptive_state and session.adaptive:
            _save_state(adaptive_state, session.adaptive.state_dict())
    if save_outputs:
        _save(save_outputs, results)
    if not all(r.checks.ok for r in results):
        raise typer.Exit(common.FAULT_FOUND)


def _read_state(path: str) -> dict[str, Any] | None:
    """What --adaptive learned before; None where there is no such file yet."""
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise DataError(f"--adaptive-state {path}: expected what an earlier run wrote there; found: {e}") from e
    if not isinstance(state, dict):
        raise DataError(f"--adaptive-state {path}: expected a JSON object; found {type(state).__name__}")
    return state


def _save_state(path: str, state: dict[str, Any]) -> None:
    try:
        Path(path).write_text(json.dumps(state), encoding="utf-8")
    except OSError as e:
        raise OptionError(f"--adaptive-state {path}: expected a file that can be written; found: {e}") from e


def _median_of(session: Session, sample: Sample, repeat: int) -> Result:
    """The last of `repeat` runs with the median time of all; a run whose findings were not cured is returned at once."""
    times = []
    for _ in range(repeat):
        with common.naming(sample.source):
            result = session.run(sample.feeds)
        times.append(result.latency_ms)
        if not result.checks.ok:
            break
    result.latency_ms = statistics.median(times)
    return result


def to_dict(result: Result, top: int) -> dict[str, Any]:
    """The JSON form. A batch has `samples`: what `Result.to_dict` gives, or without a policy the best classes of each."""
    out = result.to_dict(top)
    batch = _batch(result)
    if batch > 1 and "samples" not in out:
        assert result.scores is not None
        out["samples"] = [{"top": replace(result, scores=result.scores[k:k + 1], outputs={}).to_dict(top)["top"]}
                          for k in range(batch)]
    return out


def _batch(result: Result) -> int:
    """Samples with an answer of their own; 0 when no classes are known."""
    return 0 if result.scores is None else len(result.scores)


def show_one(sample: Sample, result: Result, top: int = 0) -> None:
    """A two-column table of one answer, or of the answers to one batch."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("input", escape(sample.source))
    batch = _batch(result)
    best = result.best(top or 5) if batch == 1 else []
    for k in range(min(batch, OUTPUT_ROWS) if batch > 1 else 0):
        table.add_row(f"sample {k + 1} of {batch}", _answer_of(result, k, top or 1))
    if batch > OUTPUT_ROWS:
        table.add_row("", f"… and {batch - OUTPUT_ROWS} more (--json lists all)")
    for rank, (label, probability) in enumerate(best):
        table.add_row("answer" if rank == 0 else "", f"{'[bold]' if rank == 0 else ''}{escape(label)}"
                      f"{'[/bold]' if rank == 0 else ''}  {100 * probability:.2f} %")
    if not batch:
        for name, a in list(result.outputs.items())[:OUTPUT_ROWS]:
            table.add_row("output", f"{escape(name)}  {a.dtype}{list(a.shape)}{_range(a)}")
        if len(result.outputs) > OUTPUT_ROWS:
            table.add_row("", f"… and {len(result.outputs) - OUTPUT_ROWS} more (--json lists all)")
    if result.exit.of > 1:
        table.add_row("deepest exit" if result.samples else "exit", f"{_exit(result)}{_saved(result)}")
    if result.difficulty is not None:
        table.add_row("difficulty", f"{result.difficulty:.3f}{' (mean)' if result.samples else ''}")
    table.add_row("time", f"{result.latency_ms:.3f} ms")
    table.add_row("checks", _checks(result))
    for f in result.checks.findings:
        table.add_row("", f"[red]step {f.step} {escape(f.node or f.op)}[/red] ({f.kernel}): {f.check} at {f.index}: "
                          f"{f.values}; {f.action}{', permanent' if f.permanent else ''}")
    answers.print(table)


def _answer_of(result: Result, k: int, top: int) -> str:
    """The best classes of sample k of a batch, and its exit where each sample took its own."""
    text = ", ".join(f"{escape(label)}  {100 * p:.2f} %" for label, p in result.best(top, k))
    return f"{text}; exit {_exit(result.samples[k])}" if result.samples else text


def show_many(samples: Sequence[Sample], results: Sequence[Result]) -> None:
    """One row per input, and a line that sums up."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    exits = any(r.exit.of > 1 for r in results)
    for name in ("input", "answer", "probability", *(("exit", "difficulty") if exits else ()), "ms", "findings"):
        side: Any = "left" if name in ("input", "answer", "exit") else "right"
        table.add_column(name, justify=side, no_wrap=name != "input", min_width=12 if name == "input" else None)
    for sample, r in zip(samples, results, strict=True):
        best = r.best(1)
        row = [escape(sample.source.rsplit("/", 1)[-1]) + (f" (1 of {_batch(r)})" if _batch(r) > 1 else "")]
        row += [escape(best[0][0]), f"{best[0][1]:.4f}"] if best else ["–", "–"]
        if exits:
            row += [f"{r.exit.index + 1} of {r.exit.of}", "–" if r.difficulty is None else f"{r.difficulty:.3f}"]
        table.add_row(*row, f"{r.latency_ms:.3f}", str(len(r.checks.findings)))
    answers.print(table)
    line = f"{len(results)} inputs, median {statistics.median(r.latency_ms for r in results):.3f} ms"
    if exits:
        taken = Counter(r.exit.index for r in results)
        line += "; exits " + ", ".join(f"{k + 1}: {taken[k]}" for k in range(results[0].exit.of))
    answers.print(line)


def _exit(r: Result) -> str:
    return f"{r.exit.index + 1} of {r.exit.of} ({escape(r.exit.name)})"


def _saved(r: Result) -> str:
    return f", {r.macs / 1e6:.2f} of {r.macs_total / 1e6:.2f} M multiply-adds" if r.macs_total else ""


def _checks(r: Result) -> str:
    if r.checks.mode == "off":
        return "off"
    found = len(r.checks.findings)
    color = "bold yellow" if r.checks.ok else "bold red"
    return f"{r.checks.mode}: {r.checks.run:,} values checked, " + (
        f"[{color}]{found} finding{'s' * (found > 1)}[/{color}]{', cured' * r.checks.ok}" if found else "nothing found")


def _range(a: np.ndarray) -> str:
    if a.size == 0 or a.dtype.kind not in "fiu":
        return ""
    return f"  {a.min():.6g} … {a.max():.6g}" if a.size > 1 else f"  {a.reshape(())[()]:.6g}"


def _save(path: str, results: Sequence[Result]) -> None:
    many = len(results) > 1
    arrays = {f"{name}_{k}" if many else name: a for k, r in enumerate(results) for name, a in r.outputs.items()}
    try:
        with Path(path).open("wb") as f:
            np.savez(f, **arrays)  # type: ignore[arg-type]
    except OSError as e:
        raise OptionError(f"--save-outputs {path}: expected a file that can be written; found: {e}") from e
