"""The `edgerun` command: finds the sub-command, runs it, and turns errors into one line and an exit code.

Exit codes: 0 ok · 1 error · 2 wrong usage or policy · 3 model · 4 input or data · 5 fault detected · 7 signature · 124 out of time
(docs/errors-and-exit-codes.md). This module imports the standard library only, and everything else once `main` runs:
Ctrl-C while the libraries load ends like Ctrl-C later on.
"""

from __future__ import annotations

import errno
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "run": "run",
    "eval": "evaluate",
    "calibrate": "calibrate",
    "quantize": "quantize",
    "harden": "harden",
    "ranges": "ranges",
    "codegen": "codegen.command",
    "split": "split.command",
    "device": "device.command",
    "serve": "serve.command",
    "keys": "serve.keys",
    "sign": "serve.sign",
    "verify": "serve.verify",
    "detect": "detect.command",
    "inspect": "inspect",
    "bench": "bench",
    "compare": "compare",
    "inject": "inject",
    "campaign": "campaign",
    "board": "board",
    "info": "info",
}
"""Sub-command → module of this package whose function `command` it is, or whose `group` of commands (name → function)."""

HELP = """Run ONNX models on small machines: checked while they run, and only as far as the input needs.

[bold]edgerun MODEL …[/bold] is short for [bold]edgerun run MODEL …[/bold].

Examples:

  edgerun model.onnx --input photo.jpg                 answer, time, checks
  edgerun model.onnx --input photo.jpg --exit-policy dart --json
  edgerun eval model.onnx --data test.npz              accuracy, exits, speed-up
  edgerun calibrate model.onnx --data calibration.npz  learn when to exit early
  edgerun quantize model.onnx -o small.onnx --calibration photos/    8 bits instead of 32
  edgerun harden model.onnx -o hardened.onnx           checks that every ONNX runtime computes along
  edgerun ranges model.onnx --data photos/             values to cut faults off at (--on-fault restrict)
  edgerun codegen model.onnx --target cortex-m4 -o c   C99 for microcontrollers
  edgerun split model.onnx --auto -o parts/            a head for the device, a tail for the server
  edgerun serve parts/ model.onnx --insecure           HTTP and gRPC for both, on this machine only
  edgerun keys new cam-1 --ring keys.json              a key that signs the messages of a device
  edgerun sign parts/ --key maker.pem                  a signature that `verify`, and a server, can hold a model to
  edgerun device parts/ --server https://edge.lan:8000 --input photo.jpg    the head here, the rest there
  edgerun detect train parts/ --data photos/ -o d.onnx manipulated features, told from noisy ones
  edgerun inspect model.onnx                           steps, kernels, memory, exits
  edgerun bench model.onnx --against ort               time against other runtimes
  edgerun inject model.onnx --list                     where a fault can strike, and what comes of one
  edgerun campaign model.onnx --data test.npz --out c  what the checks catch, counted over many faults
  edgerun board run firmware/ --board mps2-an386 --input x.npy       generated C on an emulated board

Add --debug to any command to see the traceback of an error.
"""
INTERRUPTED = 130


def build(only: str | None = None) -> typer.Typer:
    """The command-line application; with `only`, just that sub-command is imported (the others may be heavy)."""
    import typer

    app = typer.Typer(name="edgerun", help=HELP, rich_markup_mode="rich", no_args_is_help=True, add_completion=False,
                      context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False)

    def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                          help="Print the version.")) -> None:
        """Holds the options of the bare command."""

    app.callback()(root)
    for name, module in COMMANDS.items():
        if only in (None, name):
            loaded = importlib.import_module(f"edgerun_tools.{module}")
            help_options = {"help_option_names": ["-h", "--help"]}
            if hasattr(loaded, "group"):
                group = typer.Typer(help=loaded.__doc__, rich_markup_mode="rich", no_args_is_help=True, context_settings=help_options)
                for member, command in loaded.group.items():
                    group.command(member, context_settings=help_options)(_interruptible(command))
                app.add_typer(group, name=name)
            else:
                app.command(name, context_settings=help_options)(_interruptible(loaded.command))
    return app


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, ended by Ctrl-C with one word and the code that shells use."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            import typer

            raise typer.Exit(_interrupted()) from None

    return wrapped


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return INTERRUPTED


def _version(wanted: bool) -> None:
    if wanted:
        import typer

        from edgerun import __version__

        print(f"edgerun {__version__}")
        raise typer.Exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if args and args[0] not in COMMANDS and args[0] not in ("-h", "--help", "--version"):
        args.insert(0, "run")
    try:
        return _run(args, debug)
    except KeyboardInterrupt:
        return _interrupted()


def _run(args: list[str], debug: bool) -> int:
    from edgerun.errors import EdgeRunError
    from edgerun_tools.common import fail, warnings_to_stderr

    try:
        with warnings_to_stderr():
            only = args[0] if args and args[0] in COMMANDS else "info" if args == ["--version"] else None
            code = build(only)(args, prog_name="edgerun", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # say here, not while Python shuts down, that nothing can be written
        return int(code or 0)
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(bool(e.code))
    except EdgeRunError as e:
        if debug:
            raise
        fail("error", str(e))
        return e.exit_code
    except OSError as e:
        if debug:
            raise
        _forget_lost_output()
        if e.errno != errno.EPIPE:  # else the reader of our output went away, as `head` does
            fail("error", f"a file or stream cannot be read or written: {e}")
        return 1
    except Exception as e:
        if hasattr(e, "format_message"):  # Typer's errors of usage; older versions keep the class in the package click
            return _misused(e, args)
        if debug:
            raise
        fail("internal error", f"{type(e).__name__}: {e}\nThis is a defect of edgerun. Run again with --debug and "
                               "report the traceback.")
        return 1


def _forget_lost_output() -> None:
    """Where stdout takes nothing any more, keep Python from trying again while it shuts down."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None


def _misused(error: Any, args: Sequence[str]) -> int:
    """One line about a wrong command line; the help where there were no words at all."""
    from edgerun_tools.common import fail

    if not args:
        error.show()
    else:
        help_of = f"{args[0]} --help" if args[0] in COMMANDS else "--help"
        fail("error", f"{' '.join(error.format_message().split())} (edgerun {help_of} shows what is possible)")
    return int(error.exit_code)


if __name__ == "__main__":
    raise SystemExit(main())
