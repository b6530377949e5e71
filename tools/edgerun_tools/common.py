"""Options that several commands share, and the two consoles: answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from edgerun.errors import DataError, InputError, OptionError

FAULT_FOUND = 5
"""Exit code when a check found something."""
PIPE_WIDTH = 160
"""Columns of tables that do not go to a terminal."""


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


answers = _console()
errors = _console(stderr=True)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)]
Threads = Annotated[int | None, typer.Option("--threads", "--num-threads", "-x", min=1, show_default="physical cores",
                                             help="Worker threads.")]
OnFault = Annotated[str | None, typer.Option("--on-fault", metavar="flag|retry|abort|exit-early|restrict", show_default=(
    "flag where --checks is maed or off, else retry"), help="What is done about a fault that a check finds.")]
FaultLog = Annotated[str | None, typer.Option("--fault-log", metavar="FILE", help=(
    "Append every finding as a line of JSON; at 1 MiB the file is renamed to FILE.1, three are kept."))]
Checks = Annotated[str, typer.Option("--checks", metavar="PRESET|KINDS", help=(
    "What is verified while the model runs: off, maed, standard, full, or kinds such as maed,abft,weights (docs/checks.md); maed-paper: "
    "the published identities, for comparison."))]
ExitPolicy = Annotated[str, typer.Option("--exit-policy", metavar="NAME", help=(
    "When a model with early exits may stop: none, confidence, entropy, patience, deadline, dart."))]
Thresholds = Annotated[str | None, typer.Option("--thresholds", metavar="0.9,0.8,…", help=(
    "Thresholds of the exits but the last (confidence, entropy)."))]
Patience = Annotated[int | None, typer.Option("--patience", min=1, help="Agreeing exits (policy patience).")]
Executor = Annotated[str, typer.Option("--executor", metavar="auto|engine|python", help=(
    "engine: C++; python: Numba and NumPy; auto: the engine where it is built."))]
Shape = Annotated[list[str] | None, typer.Option("--shape", metavar="NAME=1x3x224x224", help=(
    "Fix the shape of an input that has symbolic dimensions (repeatable)."))]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse operators that only the slow reference fallback runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.")]

MaxMemory = Annotated[str | None, typer.Option("--max-memory", metavar="512MiB", help=(
    "Memory for weights and intermediate results; without it 192 MiB and four times the size of the model."))]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help=(
    "Time that loading, and every run, may take."))]
Bound = Annotated[list[str] | None, typer.Option("--bound", metavar="NAME=VALUE", help=(
    "Another bound on what the model may ask for: file, nodes, depth, name, trips (repeatable)."))]
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def bounds(max_memory: str | None, timeout: float | None, bound: Sequence[str] | None) -> dict[str, Any]:
    """The options of a session for --max-memory, --timeout and --bound. Raises OptionError."""
    found: dict[str, Any] = {"timeout": timeout}
    if max_memory is not None:
        found["max_memory"] = bytes_of("--max-memory", max_memory)
    for entry in bound or ():
        name, _, value = entry.partition("=")
        if name not in ("file", "nodes", "depth", "name", "trips"):
            raise OptionError(f"--bound: expected file, nodes, depth, name or trips, and =VALUE; found {entry!r}")
        found[f"max_{name}"] = bytes_of(f"--bound {name}", value)
    return found


def bytes_of(option: str, text: str) -> int:
    """A whole number, perhaps with a binary unit: 1000, 64k, 512MiB, 1.5GB."""
    number = text.strip().lower().removesuffix("ib").removesuffix("b") or text
    unit = number[-1:] if number[-1:] in ("k", "m", "g") else ""
    try:
        count = float(number.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        count = -1
    if not 0 <= count < 2**63:
        raise OptionError(f"{option}: expected a number, perhaps with K, M or G (512MiB); found {text!r}")
    return int(count)


def parse_shapes(specs: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """["x=1x3x224x224"] → {"x": (1, 3, 224, 224)}; commas work like x; OptionError shows the form."""
    shapes = {}
    for spec in specs or ():
        name, _, dims = spec.rpartition("=") if "=" in spec else spec.rpartition(":")
        try:
            shapes[name] = tuple(int(d) for d in dims.replace(",", "x").split("x")) if dims else ()
        except ValueError:
            name = ""
        if not name:
            raise OptionError(f"--shape: expected NAME=1x3x224x224; found {spec!r}")
    return shapes


def parse_thresholds(text: str | None) -> tuple[float, ...] | None:
    """"0.9,0.8" → (0.9, 0.8); OptionError for what are no numbers."""
    if text is None:
        return None
    try:
        return tuple(float(v) for v in text.split(","))
    except ValueError as e:
        raise OptionError(f"--thresholds: expected numbers separated by commas; found {text!r}") from e


def read_labels(path: str | None) -> tuple[str, ...] | None:
    """Class names from a text file, one a line (or a JSON list); None without a file. Blank lines at the end do not count;
    DataError for an empty file and any other JSON."""
    if path is None:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"--labels {path}: expected a text file with one class name a line; found: {e}") from e
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = json.loads(text)
        except ValueError as e:
            raise DataError(f"--labels {path}: expected a JSON list of class names; found: {e}") from e
        if not isinstance(names, list) or any(isinstance(n, (list, dict)) for n in names):
            raise DataError(f"--labels {path}: expected a JSON list of class names in the order of the classes; found "
                            f"{'nested lists or objects' if isinstance(names, list) else 'a JSON object'}")
    else:
        names = text.rstrip().splitlines()
    if not names:
        raise DataError(f"--labels {path}: expected at least one class name; found none")
    return tuple(map(str, names))


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Put the name of the file into an InputError, which knows only the input's."""
    try:
        yield
    except InputError as e:
        raise InputError(f"{source}: {e}") from e


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, allow_nan=False), flush=True)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; bars and line breaks within cells are taken out."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(' '.join(text.replace('|', '/').split()) for text in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def fail(kind: str, message: str) -> None:
    """Say on stderr what went wrong."""
    errors.print(f"[bold red]{kind}:[/bold red] {escape(message)}", soft_wrap=True)


@contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Show Python warnings as one plain line each on stderr."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        errors.print(f"[yellow]warning:[/yellow] {escape(str(message))}", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
