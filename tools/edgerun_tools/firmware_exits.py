"""Early exits on an emulated board: the exits that generated C takes beside the engine's, and the instructions they save.

`python -m edgerun_tools.firmware_exits models/zoo/mnist_alexnet/model.onnx --data sets/mnist --part test` generates C for every
policy, runs it on the board on real images, and holds exits, answers and scores against the C++ engine on the same images. `none`
computes all exits; `static` is the network without its early heads, which one would run without early exit: savings are against both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edgerun import Session
from edgerun.errors import EdgeRunError
from edgerun.executors.base import RawRun
from edgerun.planner.plan import Plan
from edgerun_tools import boards, data, exit_runs
from edgerun_tools.boards import Results
from edgerun_tools.codegen import exits, generate
from edgerun_tools.codegen.targets import TARGETS
from edgerun_tools.common import answers

SCHEMA = "edgerun.firmware-exits/1"
STATIC = "static"
TIMEOUT = 7200.0
"""Seconds of this machine for all images of a policy."""


def measure(model: str, images: exit_runs.Labelled, board: str, policies: Sequence[str], *, executor: str = "engine",
            tick: exit_runs.Tick | None = None) -> dict[str, Any]:
    """Runs all policies (`static` among them) on the board and in the executor; schema "edgerun.firmware-exits/1".

    images: as `exit_runs.load` gives them. EdgeRunError where the model has no exits, cannot be generated or does not run to the end.
    """
    rows = {p: _policy(model, images, board, p, executor, tick) for p in policies}
    for other in ("none", STATIC):
        if other in rows:
            for row in rows.values():
                row[f"saved_against_{other}"] = 1 - row["count"]["mean"] / rows[other]["count"]["mean"]
    return {"schema": SCHEMA, "model": model, "data": {"name": images.source, "images": len(images), "sha256": images.sha256},
            "board": board, "unit": boards.board_of(board).unit, "policies": rows}


def _policy(model: str, images: exit_runs.Labelled, board: str, policy: str, executor: str, tick: exit_runs.Tick | None) -> dict[str, Any]:
    with Session(model, checks="off", threads=1, executor=executor) as whole:
        exit_runs.require_exits(whole)
        last = whole.exits[-1:]
    options: dict[str, Any] = {"outputs": last} if policy == STATIC else {"exit_policy": policy}
    exits.refuse_policy("none" if policy == STATIC else policy)
    target = next((t.name for t in TARGETS.values() if t.board == board), "host")
    with Session(model, checks="off", threads=1, executor=executor, **options) as session, tempfile.TemporaryDirectory() as folder:
        tensors = exit_runs.Tensors(session, images)
        x = np.stack([tensors[i] for i in range(len(tensors))])
        expected = [session.run_raw([one]) for one in x]
        points = [e.name for e in session.plan.exits] or list(last)
        generate.of_session(session, generate.prefix_of(model, "net"), Path(model).name, target).write(folder)
        told = None if tick is None else (lambda what, done, of: tick(done, of))
        results = boards.run(folder, board, x, timeout=TIMEOUT, tick=told)
        return compared(results, expected, images.labels, session.plan, points)


def compared(results: Results, expected: Sequence[RawRun], labels: np.ndarray, plan: Plan, points: Sequence[str]) -> dict[str, Any]:
    """One policy's row. points: the outputs that are exits, in order."""
    results.outputs()  # BoardError unless all ran
    here = [s.report["exit_taken"] for s in results.samples]
    there = [max(e.exit_index, 0) for e in expected]
    scores = exits.outputs(plan)[0].name
    found = [s.outputs[scores if exits.active(plan) else points[k]] for s, k in zip(results.samples, here, strict=True)]
    places = {p.name: i for i, p in enumerate(plan.outputs)}
    truth = [np.asarray(e.outputs[places[points[k]]]) for e, k in zip(expected, there, strict=True)]
    said = [np.array([int(np.argmax(s)) for s in scored]) for scored in (found, truth)]
    same = [a == b for a, b in zip(here, there, strict=True)]
    worst = max((float(np.abs(f - t).max()) for f, t, s in zip(found, truth, same, strict=True) if s), default=0.0)
    counts = np.array([s.count for s in results.samples])
    return {
        "selftest": results.selftest, "status": sorted({s.status for s in results.samples}), "exits": list(points),
        "exit_shares": {"board": _shares(here, len(points)), "engine": _shares(there, len(points))},
        "same_exit": sum(same), "same_answer": int(np.sum(said[0] == said[1])), "worst_difference": worst,
        "accuracy": {"board": float(np.mean(said[0] == labels)), "engine": float(np.mean(said[1] == labels))},
        "count": {"mean": float(counts.mean()), "min": float(counts.min()), "max": float(counts.max()),
                  "by_exit": [float(counts[np.array(here) == k].mean()) if k in here else None for k in range(len(points))]},
        "different": [{"image": i, "board": here[i], "engine": there[i], "scores": list(expected[i].scores)}
                      for i, s in enumerate(same) if not s],
        "bytes": {"firmware": vars(results.image.firmware), "stack": max(s.stack for s in results.samples)},
    }


def _shares(taken: Sequence[int], count: int) -> list[float]:
    return [taken.count(k) / len(taken) for k in range(count)]


def show(report: dict[str, Any]) -> Table:
    """The table that the command prints."""
    n = report["data"]["images"]
    out = Table(box=None, padding=(0, 2, 0, 0), title=f"{report['model']}, {n} images of {report['data']['name']}, {report['board']}; "
                "exits and accuracy in %, board and engine; saved: mean against all exits, and without early heads")
    for name in ("policy", "exits", "engine's", "same exit", "same answer", "worst diff.", "accuracy", "engine's", f"mean {report['unit']}",
                 "saved", f"({STATIC})"):
        out.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    for name, r in report["policies"].items():
        shares = ["/".join(f"{100 * s:.1f}" for s in r["exit_shares"][k]) for k in ("board", "engine")]
        saved = [f"{100 * r[k]:.1f} %" if k in r else "" for k in ("saved_against_none", f"saved_against_{STATIC}")]
        out.add_row(name, *shares, f"{r['same_exit']}/{n}", f"{r['same_answer']}/{n}", f"{r['worst_difference']:.2g}",
                    *(f"{100 * r['accuracy'][k]:.1f}" for k in ("board", "engine")), f"{r['count']['mean']:,.0f}", *saved)
    return out


def main(argv: list[str] | None = None) -> int:
    """Command line; prints JSON with --json, else a table. 1 where an exit or an answer differs from the engine's, 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.firmware_exits", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an ONNX file with exits")
    parser.add_argument("--data", required=True, help="labelled images; as they are, or within the data folder (EDGERUN_DATA)")
    parser.add_argument("--part", default="all", choices=exit_runs.PARTS)
    parser.add_argument("--limit", type=int, default=200, help="so many images, spread evenly")
    parser.add_argument("--board", default="mps2-an500")
    parser.add_argument("--policies", default=f"none,{STATIC},dart", help="comma separated")
    parser.add_argument("--executor", default="engine", help="what the board is held against")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    try:
        spec = options.data if Path(options.data).exists() else str(data.data_root() / options.data)
        images = exit_runs.load(spec, options.part, options.limit)
        with exit_runs.bars(not options.json) as progress:
            report = measure(options.model, images, options.board, options.policies.split(","), executor=options.executor,
                             tick=lambda done, of: progress(options.board, done, of))
    except EdgeRunError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print(json.dumps(report)) if options.json else answers.print(show(report))
    rows = report["policies"].values()
    return int(any(r["selftest"] or min(r["same_exit"], r["same_answer"]) < len(images) for r in rows))


if __name__ == "__main__":
    sys.exit(main())
