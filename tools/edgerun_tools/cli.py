"""The `edgerun` command: finds the sub-command, runs it, and turns errors into one line and an exit code.

Exit codes: 0 ok · 1 error · 2 wrong usage or policy · 3 model · 4 input or data · 5 fault detected · 124 out of time
(docs/errors-and-exit-codes.md).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from edgerun.errors import EdgeRunError
from edgerun_tools.common import errors, fail, warnings_to_stderr

COMMANDS = {
    "run": "run",
    "eval": "evaluate",
    "calibrate": "calibrate",
    "inspect": "inspect",
    "bench": "bench",
    "info": "info",
}
"""Sub-command → module of this package whose function `command` it is."""

HELP = """Run ONNX models on small machines: checked while they run, and only as far as the input needs.

[bold]edgerun MODEL …[/bold] is short for [bold]edgerun run MODEL …[/bold].

Examples:

  edgerun model.onnx --input photo.jpg                 answer, time, checks
  edgerun model.onnx --input photo.jpg --exit-policy dart --json
  edgerun eval model.onnx --data test.npz              accuracy, exits, speed-up
  edgerun calibrate model.onnx --data calibration.npz  learn when to exit early
  edgerun inspect model.onnx                           steps, kernels, memory, exits
  edgerun bench model.onnx --against ort               time against other runtimes

Add --debug to any command to see the traceback of an error.
"""
INTERRUPTED = 130


def build(only: str | None = None) -> typer.Typer:
    """The command-line application; with `only`, just that sub-command is imported (the others may be heavy)."""
    app = typer.Typer(name="edgerun", help=HELP, rich_markup_mode="rich", no_args_is_help=True, add_completion=False,
                      context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, module in COMMANDS.items():
        if only in (None, name):
            loaded = importlib.import_module(f"edgerun_tools.{module}")
            app.command(name, context_settings={"help_option_names": ["-h", "--help"]})(_interruptible(loaded.command))
    return app


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, ended by Ctrl-C with one word and the code that shells use."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            errors.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


def _version(wanted: bool) -> None:
    if wanted:
        from edgerun import __version__

        print(f"edgerun {__version__}")
        raise typer.Exit()


def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")
          ) -> None:
    """Holds the options of the bare command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if args and args[0] not in COMMANDS and args[0] not in ("-h", "--help", "--version"):
        args.insert(0, "run")
    try:
        with warnings_to_stderr():
            only = args[0] if args and args[0] in COMMANDS else "info" if args == ["--version"] else None
            build(only)(args, prog_name="edgerun")
    except SystemExit as e:  # how Typer ends: 0, 2 for wrong usage, or what the command raised as typer.Exit
        return e.code if isinstance(e.code, int) else int(bool(e.code))
    except EdgeRunError as e:
        if debug:
            raise
        fail("error", str(e))
        return e.exit_code
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stdout = None  # nothing left to flush at exit
        return 1
    except Exception as e:
        if debug:
            raise
        fail("internal error", f"{type(e).__name__}: {e}\nThis is a defect of edgerun. Run again with --debug and "
                               "report the traceback.")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
