"""Where the time of a run goes: every step's, by operator and by kernel, as tables, as JSON and as a trace for a viewer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from edgerun.errors import OptionError
from edgerun.planner.plan import Plan
from edgerun.session import Session
from edgerun_tools.common import answers

SECONDS = 1.0
"""Time that profiled runs take together, about."""
RUNS = (5, 200)
"""Fewest and most profiled runs."""
WARM_RUNS = 2
TRACED = 20
"""Runs in a trace, the last ones."""


@dataclass(frozen=True)
class Profile:
    """Times of profiled runs, in microseconds. plan: what ran; us [runs, steps]: of every step; starts, whole [runs]: of
    every run, by the clock around the call (checks of the inputs included). No run leaves early."""

    plan: Plan
    us: np.ndarray
    starts: np.ndarray
    whole: np.ndarray


def measure(session: Session, feeds: Mapping[str, np.ndarray], latency_ms: float) -> Profile:
    """Profile runs one by one, as many as fit into SECONDS when one takes `latency_ms`."""
    runs = int(min(max(SECONDS * 1e3 / max(latency_ms, 1e-3), RUNS[0]), RUNS[1]))
    us, starts, whole = [], [], []
    for k in range(WARM_RUNS + runs):
        start = time.perf_counter_ns()
        steps = session.profile(feeds, 1)
        end = time.perf_counter_ns()
        if k >= WARM_RUNS:
            us.append([s.us for s in steps])
            starts.append(start / 1e3)
            whole.append((end - start) / 1e3)
    return Profile(session.plan_for(feeds), np.array(us).reshape(runs, -1), np.array(starts), np.array(whole))


def to_dict(profile: Profile) -> dict[str, Any]:
    """The keys `steps` and `profile` of the report of `edgerun bench`."""
    steps = _steps(profile)
    return {
        "steps": steps,
        "profile": {
            "runs": len(profile.whole), "run_us": float(np.median(profile.whole)),
            "steps_us": float(np.median(profile.us.sum(axis=1))),
            "by_operator": _groups(steps, "op"), "by_kernel": _groups(steps, "kernel"),
        },
    }


def _steps(profile: Profile) -> list[dict[str, Any]]:
    """In the order of the plan. `us` is the mean; `share` and `gflops` are of the median, which other programs on the
    machine do not move. `cumulative`: share of the time that the step and all slower ones take."""
    plan = profile.plan
    mean, median = profile.us.mean(axis=0), np.median(profile.us, axis=0)
    share = median / (median.sum() or 1.0)
    order = np.argsort(-median, kind="stable")
    cumulative = np.empty(len(median))
    cumulative[order] = np.cumsum(share[order])
    return [
        {"step": k, "node": s.node, "op": s.op, "kernel": s.kernel,
         "shape": list(plan.slots[s.outputs[0]].shape) if s.outputs else None, "macs": s.macs,
         "us": round(float(mean[k]), 3), "us_median": round(float(median[k]), 3), "share": float(share[k]),
         "cumulative": float(cumulative[k]), "gflops": _gflops(s.macs, float(median[k]))}
        for k, s in enumerate(plan.steps)
    ]


def _groups(steps: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Sums over the steps with the same value of `key`, the slowest first; `us` is the sum of the medians."""
    found: dict[str, dict[str, Any]] = {}
    for s in steps:
        g = found.setdefault(s[key], {key: s[key], "steps": 0, "macs": 0, "us": 0.0, "share": 0.0})
        g["steps"] += 1
        g["macs"] += s["macs"]
        g["us"] += s["us_median"]
        g["share"] += s["share"]
    for g in found.values():
        g["gflops"] = _gflops(g["macs"], g["us"])
    return sorted(found.values(), key=lambda g: -g["us"])


def _gflops(macs: int, us: float) -> float | None:
    """10⁹ floating-point operations (two a multiply-accumulate) per second; None for steps without."""
    return 2 * macs / us / 1e3 if macs and us > 0 else None


def show(report: Mapping[str, Any]) -> None:
    """The steps, slowest first, and the sums, as tables."""
    p = report["profile"]
    columns = ("step", "node", "operator", "kernel", "shape", "MACs", "µs mean", "median", "share", "cumulative", "GFLOP/s")
    table = _table(columns, left=("node", "operator", "kernel", "shape"))
    for s in sorted(report["steps"], key=lambda s: -s["us_median"]):
        table.add_row(str(s["step"]), escape(_short(s["node"])), escape(_short(s["op"])), s["kernel"],
                      "x".join(map(str, s["shape"])) if s["shape"] is not None else "", _count(s["macs"]), f"{s['us']:.1f}",
                      f"{s['us_median']:.1f}", f"{100 * s['share']:.1f} %", f"{100 * s['cumulative']:.1f} %",
                      _speed(s["gflops"]))
    answers.print()
    answers.print(table)
    for key, title in (("op", "operator"), ("kernel", "kernel")):
        table = _table((title, "steps", "MACs", "µs", "share", "GFLOP/s"), left=(title,))
        for g in p[f"by_{title}"]:
            table.add_row(escape(g[key] or "–"), str(g["steps"]), _count(g["macs"]), f"{g['us']:.1f}",
                          f"{100 * g['share']:.1f} %", _speed(g["gflops"]))
        answers.print()
        answers.print(table)
    answers.print(f"\n{p['runs']} profiled runs: the steps take {p['steps_us']:.1f} µs of {p['run_us']:.1f} µs (medians); "
                  f"without the profile a call takes {report['latency_ms']['p50'] * 1e3:.1f} µs", soft_wrap=True)


def _table(columns: Sequence[str], left: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def _short(name: str, most: int = 30) -> str:
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _count(macs: int) -> str:
    return "" if not macs else f"{macs / 1e6:.2f} M" if macs >= 1e5 else str(macs)


def _speed(gflops: float | None) -> str:
    return "" if gflops is None else f"{gflops:.1f}"


def trace(profile: Profile, model: str) -> dict[str, Any]:
    """The last runs in the trace-event format that Perfetto and chrome://tracing read (times in microseconds).

    Durations are measured; a step begins where the one before it ends, which leaves what a run does beside its steps at
    the end of the run.
    """
    def event(name: str, kind: str, ts: float, dur: float, args: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "cat": kind, "ph": "X", "pid": 1, "tid": 1, "ts": round(ts, 3), "dur": round(dur, 3),
                "args": args}

    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": f"edgerun {model}"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "steps"}},
    ]
    steps = profile.plan.steps
    first = max(0, len(profile.whole) - TRACED)
    zero = profile.starts[first]
    for run in range(first, len(profile.whole)):
        at = float(profile.starts[run] - zero)
        events.append(event(f"run {run}", "run", at, float(profile.whole[run]), {"run": run}))
        for k, (step, us) in enumerate(zip(steps, profile.us[run].tolist(), strict=True)):
            slot = profile.plan.slots[step.outputs[0]] if step.outputs else None
            events.append(event(step.op or step.kernel, "step", at, us, {
                "step": k, "node": step.node, "kernel": step.kernel, "shape": list(slot.shape) if slot else None,
                "macs": step.macs}))
            at += us
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"model": model}}


def save_trace(path: str, profile: Profile, model: str) -> None:
    """Write `trace` as JSON. OptionError where the file cannot be written."""
    try:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(trace(profile, model), f)
    except OSError as e:
        raise OptionError(f"--trace {path}: expected a file that can be written; found: {e}") from e
