"""`edgerun inject`: one fault into the running engine, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from edgerun import Session
from edgerun.errors import OptionError
from edgerun.executors.base import Fault
from edgerun.feeds import Sample, random_feeds, read_samples
from edgerun.result import describe
from edgerun_tools import common
from edgerun_tools.common import answers
from edgerun_tools.faults import isolate, places, spec, target, trial
from edgerun_tools.faults.models import FLOW
from edgerun_tools.faults.places import SITES, Place

LIMIT = 60.0
"""Seconds without an answer after which the run counts as hanging."""


def command(
    model: common.Model,
    fault: Annotated[str | None, typer.Option("--fault", "-f", metavar="site=…,step=…,index=…,bit=…", show_default=False, help=(
        "The fault. bit=30, bits=3+4 or mask=0xFF; mode=flip, set or clear; runs=N (default 1; 0: until healed)."))] = None,
    data: Annotated[str | None, typer.Option("--data", "--input", "-d", "-i", metavar="FILE", show_default="random numbers", help=(
        "An image, .npy or .npz, as of run --input."))] = None,
    checks: common.Checks = "full",
    on_fault: Annotated[str | None, typer.Option("--on-fault", metavar="flag|retry|abort|exit-early|restrict",
                                                 show_default="as the checks", help=(
        "Reaction to a finding."))] = None,
    later: Annotated[int, typer.Option("--later", min=0, help="Further runs on the same input, in which late alarms count.")] = 8,
    list_sites: Annotated[bool, typer.Option("--list", help="Show where faults can strike, and how many values are there.")] = False,
    threads: Annotated[int, typer.Option("--threads", "-x", min=1, help="Worker threads.")] = 1,
    seed: common.Seed = 0,
    shape: common.Shape = None,
    as_json: common.AsJson = False,
) -> None:
    """Inject one fault into the running engine and show what was found and what changed.

    The fault strikes a copy of this process, which may crash or hang: that is a result, too.

    Examples:

      edgerun inject model.onnx --list

      edgerun inject model.onnx --data digit.png --fault site=accumulator,step=3,index=17,bit=30

      edgerun inject model.onnx --fault site=weights,step=0,index=5,bit=7 --checks standard --on-fault flag

      edgerun inject model.onnx --fault site=skip,step=2 --checks off --json
    """
    if list_sites == (fault is not None):
        raise OptionError(f"expected --fault or --list; found {'both' if list_sites else 'neither'}; --list shows the sites of {model}")
    with target.open_session(model, checks, {"threads": threads, "on_fault": on_fault, "shapes": common.parse_shapes(shape)}) as session:
        known = places.of(session)
        if fault is None:
            _show_places(known, as_json)
            return
        struck = spec.parse(fault, known)
        sample = Sample(f"random, seed {seed}", random_feeds(session.fixed_inputs, seed))
        if data is not None:
            sample = next(iter(read_samples([data], session.inputs, session.preprocess)))
            with common.naming(sample.source):
                session.check(sample.feeds)
        report = strike(session, struck, sample, later)
    common.print_json(report) if as_json else _show(report)


def strike(session: Session, fault: Fault, sample: Sample, later: int) -> dict[str, Any]:
    """The report of one injection, schema "edgerun.inject/1". It is done in a fork: a crash is a result, and nothing stays behind."""
    session.run(sample.feeds)  # raises what is wrong without a fault
    step = session.plan.steps[fault.step]
    report = {"schema": "edgerun.inject/1", "model": session.name, "input": sample.source, "checks": session.options.checks,
              "fault": {k: getattr(fault, k) for k in ("site", "step", "index", "mask", "mode", "runs")}
              | {"node": step.node, "op": step.op, "kernel": step.kernel}}
    lost = {"answer": {"clean": None, "hit": None}, "changed": [], "findings": []}
    attempt: isolate.Attempt[Fault] = isolate.forked(lambda f: _hit(session, f, sample, later), lambda: True, LIMIT)
    found = isolate.run([fault], attempt, lambda _, how: lost | {"outcome": trial.Outcome(trial.DUE, error=how).to_dict()})
    return report | found[0]


def _hit(session: Session, fault: Fault, sample: Sample, later: int) -> dict[str, Any]:
    golden = target.observe(session, sample.feeds)
    session.inject(fault)
    hit = target.observe(session, sample.feeds)
    outcome = trial.judge(hit, golden)
    for run in range(1, later + 1):
        if outcome.fired or outcome.outcome == trial.DUE:
            break
        after = trial.judge(target.observe(session, sample.feeds), golden, run)
        if after.fired:
            outcome = trial.late(after, outcome)
    names = [o.name for o in session.outputs]
    changed = [_change(n, a, b) for n, a, b in zip(names, golden.values, hit.values, strict=False)]
    return {"outcome": outcome.to_dict(), "answer": {"clean": _label(session, golden), "hit": _label(session, hit)}, "changed": changed,
            "findings": [describe(f) for f in hit.findings]}


def _label(session: Session, answer: target.Answer) -> str | None:
    if answer.answer < 0:
        return None
    return session.labels[answer.answer] if answer.answer < len(session.labels) else str(answer.answer)


def _change(name: str, clean: np.ndarray, hit: np.ndarray) -> dict[str, Any]:
    """How an output differs; max_difference is null where it is not finite."""
    with np.errstate(all="ignore"):
        apart = np.abs(clean.astype(np.float64) - hit.astype(np.float64)) if clean.shape == hit.shape else np.full(clean.shape, np.inf)
    worst = float(apart.max()) if apart.size else 0.0
    return {"output": name, "values": int(clean.size), "differing": int(np.count_nonzero(apart)),
            "max_difference": worst if np.isfinite(worst) else None}


def _show_places(known: list[Place], as_json: bool) -> None:
    if as_json:
        common.print_json({"schema": "edgerun.inject.sites/1", "sites": places.to_rows(known)})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("site", "step", "node", "kernel", "values", "bits", "indices", "what it is"):
        table.add_column(name, justify="right" if name in ("step", "values", "bits", "indices") else "left", no_wrap=name != "node")
    last = ""
    for p in known:
        indices = f"0 … {(p.elements - 1) * p.stride}" + (f" by {p.stride}" if p.stride > 1 else "")
        table.add_row(p.site, str(p.step), escape(p.node or p.op or p.kernel), p.kernel, f"{p.elements:,}", str(p.bits or "–"), indices,
                      "" if p.site == last else SITES.get(p.site, ""))
        last = p.site
    answers.print(table)


def _show(report: dict[str, Any]) -> None:
    fault, outcome = report["fault"], report["outcome"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    bits = "" if fault["site"] in FLOW else f", mask {fault['mask']:#x} ({fault['mode']})"
    table.add_row("fault", f"{fault['site']} of step {fault['step']} {escape(fault['node'] or fault['op'])} ({fault['kernel']}), index "
                           f"{fault['index']}{bits}")
    table.add_row("input", escape(report["input"]))
    table.add_row("outcome", f"[bold]{outcome['outcome'].replace('_', ' ')}[/bold]" + _why(outcome))
    answer = report["answer"]
    if answer["clean"] is not None:
        table.add_row("answer", escape(answer["clean"]) if answer["clean"] == answer["hit"] else
                      f"{escape(answer['clean'])} → [red]{escape(str(answer['hit'] or 'none'))}[/red]")
    for c in report["changed"]:
        worst = "not finite" if c["max_difference"] is None else f"largest difference {c['max_difference']:.6g}"
        table.add_row("output", f"{escape(c['output'])}: " + (f"{c['differing']:,} of {c['values']:,} values differ, {worst}"
                                                              if c["differing"] else "the same, bit for bit"))
    for f in report["findings"]:
        table.add_row("finding", f"step {f['step']} {escape(f['node'] or f['op'])} ({f['kernel']}): {f['check']} at {f['index']}; "
                                 f"{f['action']}")
    answers.print(table)


def _why(outcome: Mapping[str, Any]) -> str:
    words = []
    if outcome.get("check"):
        words.append(f"by {outcome['check']} in step {outcome['step']}")
    if outcome.get("run"):
        words.append(f"{outcome['run']} runs later")
    if outcome.get("harmless"):
        words.append("the outputs are right anyway")
    if outcome.get("miscorrected"):
        words.append("a repair was reported, but the outputs are wrong")
    if outcome.get("error"):
        words.append(outcome["error"])
    return f" ({', '.join(words)})" if words else ""
