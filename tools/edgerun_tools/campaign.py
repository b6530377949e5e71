"""`edgerun campaign`: many faults, one after the other, into the engine that ships; what became of each, with exact intervals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgerun.errors import OptionError
from edgerun_tools import common, exit_runs
from edgerun_tools.common import answers
from edgerun_tools.faults import conduct, report, setting


def command(
    model: common.Model,
    data: Annotated[str, typer.Option("--data", "-d", metavar="SET", show_default=False, help=(
        "Labelled inputs: an .npz with x and y, a folder or .tar of images by class, a set of the data folder."))],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", show_default=False, help=(
        "Folder for results.jsonl, report.html and report.json."))],
    checks: Annotated[str, typer.Option("--checks", metavar="NAME,NAME…", help=(
        "Presets that meet the same faults, weakest first; also kinds joined by + (maed+abft) and presets without kinds (full-abft). off "
        "is always among them."))] = "off,maed,standard,full",
    sites: Annotated[str, typer.Option("--sites", metavar="all|SITE,SITE…", help=(
        "Where faults strike (edgerun inject MODEL --list)."))] = "all",
    models: Annotated[str, typer.Option("--models", metavar="all|MODEL,MODEL…", help=(
        "What happens to the bits: bit, adjacent, double, word, stuck0, stuck1."))] = "all",
    margin: Annotated[float, typer.Option("--margin", help="Half the interval of a rate at a site: sets the number of faults.")] = 0.01,
    confidence: Annotated[float, typer.Option("--confidence", help="Of every interval and bound.")] = 0.95,
    non_masked: Annotated[int, typer.Option("--non-masked", min=0, help=(
        "Draw on until so many faults of every site had an effect without checks: 299 without a miss show 99 %, 2995 show 99.9 %."))] = 0,
    worst: Annotated[int, typer.Option("--worst", min=0, help=(
        "Add so many targeted weight flips, found by search (a bit-flip attack)."))] = 0,
    least: Annotated[int, typer.Option("--least", min=1, help="Faults of every site of every step, at least.")] = 10,
    inputs: Annotated[int, typer.Option("--inputs", min=2, help=(
        "Inputs, all answered right without faults, classes taking turns."))] = 100,
    later: Annotated[int, typer.Option("--later", min=0, help=(
        "Runs after the one that was hit, in which faults that stay are watched."))] = 8,
    on_fault: Annotated[str | None, typer.Option("--on-fault", metavar="flag|retry|abort|exit-early|restrict",
                                                 show_default="as each preset", help=(
        "Reaction to a finding."))] = None,
    scrub_bytes: Annotated[int, typer.Option("--scrub-bytes", min=1, help=(
        "Weights verified in every run; fixed here, as by default it depends on time."))] = 1 << 15,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of inputs and faults.")] = 1,
    threads: Annotated[int, typer.Option("--threads", "-x", min=1, help="Threads of the engine under test.")] = 1,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, show_default="all cores", help="Processes that inject.")] = None,
    scheduler: Annotated[str | None, typer.Option("--scheduler", metavar="tcp://HOST:PORT", help=(
        "Run on the workers of a Dask cluster (pip install 'edgerun\\[campaign]')."))] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --out holds, after a kill, too.")] = False,
    cost: Annotated[float, typer.Option("--cost", min=0, metavar="SECONDS", help="Measure what the presets cost, so long; 0: not.")] = 5.0,
    as_json: common.AsJson = False,
) -> None:
    """Measure what the checks catch: inject faults into the running engine and count what becomes of them.

    The number of faults follows from --margin and --confidence. All presets meet the same faults on the same inputs. The result does
    not depend on --jobs, on --scheduler or on interruptions. Writes a page for people (report.html) and JSON.

    Examples:

      edgerun campaign model.onnx --data test.npz --out campaign

      edgerun campaign model.onnx --data test.npz --out quick --margin 0.1 --sites weights,accumulator --checks off,full

      edgerun campaign model.onnx --data test.npz --out campaign --resume

      edgerun campaign model.onnx --data test.npz --out campaign --scheduler tcp://head:8786
    """
    asked = setting.Setting(model, data, setting.presets(checks), sites, models, margin, confidence, seed, inputs, later, on_fault,
                            threads, least, non_masked, worst, scrub_bytes)
    if resume and not out.exists():
        raise OptionError(f"--resume: expected the results of an interrupted campaign in --out {out}; found nothing there")
    with exit_runs.bars(not as_json) as tick:
        ready = conduct.prepare(asked, tick)
        rows = conduct.carry_out(ready, out, jobs=jobs or len(os.sched_getaffinity(0)), scheduler=scheduler, resume=resume, tick=tick)
        costs = conduct.costs_of(ready, out, cost) if cost else None
    summary = conduct.write_report(out, ready.header, rows, costs)
    if as_json:
        common.print_json(summary)
        return
    show(summary)
    answers.print(f"{len(rows):,} faults; page: {escape(str(out / 'report.html'))}")


def show(summary: dict[str, Any]) -> None:
    """What a terminal shows: a row a preset."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("preset")
    for name in ("critical coverage", "at least", "effective", "crit. SDC", "crash", "masked", "recovered", "false alarms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, p in summary["presets"].items():
        critical, counted = p["coverage"]["critical"], p["classes"]
        table.add_row(name, report.rate(critical), f"{100 * critical['at_least']:.2f} %" if critical["trials"] else "–",
                      report.rate(p["coverage"]["effective"], interval=False), f"{counted['sdc_critical']:,}", f"{counted['due']:,}",
                      f"{counted['masked']:,}", report.rate(p["recovery"]["transient"], interval=False),
                      f"{p['false_alarms']['hits']} of {p['false_alarms']['trials']:,}")
    answers.print(table)
