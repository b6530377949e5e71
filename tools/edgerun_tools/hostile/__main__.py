"""`python -m edgerun_tools.hostile`: run the corpus of hostile models. Exit code 1 if any case failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from edgerun_tools.common import errors

from . import corpus
from .report import show, to_json
from .runner import Limits, run_case

app = typer.Typer(add_completion=False)


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help=(
        "Only this case, or all cases of this family (repeatable)."))] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all outcomes there.")] = None,
    keep: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Leave the files of each case there.")] = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds that a case may take.")] = Limits.seconds,
    memory_mib: Annotated[float, typer.Option(min=1, help="MiB that a case may add to the idle process.")] = Limits.memory_mib,
) -> None:
    """Load and run every hostile model in a process of its own, and say which did not end in a typed error or a correct
    run within the limits. Cases that hang are killed after 20 s. JSON schema: "edgerun.hostile/1".
    """
    chosen = [c for c in corpus().values() if not only or c.name in only or c.family in only]
    unknown = [n for n in only or () if not any(n in (c.name, c.family) for c in chosen)]
    if unknown:
        families = ", ".join(dict.fromkeys(c.family for c in corpus().values()))
        raise typer.BadParameter(f"--only: expected the name of a case or a family ({families}); found "
                                 f"{', '.join(unknown)}")
    limits = Limits(timeout, memory_mib, max(Limits.kill_s, 2 * timeout))
    outcomes = [run_case(c, limits, keep) for c in track(chosen, "hostile models", console=errors, transient=True)]
    show(outcomes)
    if json_file is not None:
        json_file.write_text(json.dumps(to_json(outcomes, limits), indent=1) + "\n", encoding="utf-8")
    if any(not o.passed and o.result != "skipped" for o in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
