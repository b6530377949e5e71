"""`edgerun codegen`: a model as C99 for microcontrollers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from edgerun import Session
from edgerun.errors import LimitError, OptionError
from edgerun.options import PRESETS, kinds_of
from edgerun_tools import common
from edgerun_tools.codegen import exits, lean
from edgerun_tools.codegen.checks.asked import REACTIONS
from edgerun_tools.codegen.generate import Firmware, hold, of_session, prefix_of
from edgerun_tools.codegen.report import Measured, measure
from edgerun_tools.codegen.targets import TARGETS, target
from edgerun_tools.common import answers

SCHEMA = "edgerun.codegen/1"


def codegen(model: str, out: str, *, target_name: str = "host", prefix: str | None = None, checks: str = "off", on_fault: str = "retry",
            max_ram: int | None = None, max_flash: int | None = None, report: bool = False,
            shapes: dict[str, tuple[int, ...]] | None = None, exit_policy: str = "none", thresholds: tuple[float, ...] | None = None,
            patience: int | None = None) -> dict[str, Any]:
    """Generate C for a model, write it, and return what it needs, schema "edgerun.codegen/1".

    checks: a preset or kinds, as Session has them; on_fault: one of checks.asked.REACTIONS. max_ram, max_flash: bytes; with `report` of all
    there is (stack included), else of arena and constants. exit_policy, thresholds, patience: as Session has them. Nothing is written where
    something is refused: ModelError, LimitError (too large), OptionError, PolicyError.
    """
    core = target(target_name)
    if on_fault not in REACTIONS:
        raise OptionError(f"--on-fault: expected one of {', '.join(REACTIONS)}; found {on_fault!r}")
    if "maed-paper" in kinds_of(checks):
        raise OptionError("--checks: expected checks for use; found maed-paper, which is for comparisons by the engine")
    if core.harvard:
        lean.require(checks, on_fault, core.name)
    exits.refuse_policy(exit_policy)
    name = prefix_of(model, prefix)
    reaction = "flag" if checks == "off" else on_fault  # without checks results may be written over operands
    with Session(model, checks=checks, on_fault=reaction, threads=1, shapes=shapes or {}, exit_policy=exit_policy, thresholds=thresholds,
                 patience=patience) as session:
        firmware = of_session(session, name, Path(model).name, core.name, reaction, maed=checks != "off")
    ram = max_ram if max_ram is not None else core.ram or None
    flash = max_flash if max_flash is not None else core.flash or None
    hold(firmware, ram, flash)
    measured = measure(firmware, core) if report else None
    if measured is not None:
        _hold_measured(measured, ram, flash)
    files = firmware.write(out)
    return _said(model, firmware, core.name, measured) | {"files": [str(f) for f in files]}


def _hold_measured(m: Measured, ram: int | None, flash: int | None) -> None:
    for option, most, needed, what in (("--max-ram", ram, m.ram + m.stack, f"{m.ram} static and {m.stack} of stack"),
                                       ("--max-flash", flash, m.flash, f"{m.code} of code, the rest constants")):
        if most is not None and needed > most:
            raise LimitError(f"{option}: expected at most {most} bytes; found {needed} ({what}); quantize the model to int8, choose a "
                             "smaller one, or a larger part")


def _said(model: str, firmware: Firmware, target_name: str, measured: Measured | None) -> dict[str, Any]:
    plan, sources = firmware.plan, firmware.sources
    steps = [{"step": k, "kernel": s.kernel, "operator": s.op, "node": s.node, "macs": s.macs,
              "constants": sources.constant_bytes.get(k, 0), "scratch": sources.scratch.get(k, (0, 0))[1],
              "result": [plan.slots[s.outputs[0]].offset, plan.slots[s.outputs[0]].nbytes] if s.outputs else None}
             for k, s in enumerate(plan.steps)]
    return {"schema": SCHEMA, "model": model, "target": target_name, "prefix": firmware.prefix,
            "checks": list(sources.checks), "arena": sources.arena_bytes,
            "constants": sum(sources.constant_bytes.values()), "macs": plan.macs, "steps": steps,
            "exit_policy": plan.policy.kind, "exits": [{"name": e.name, "macs": e.macs} for e in plan.exits],
            "measured": asdict(measured) if measured else None}


# -- command ----------------------------------------------------------------------------------------------------------


def show(report: dict[str, Any]) -> None:
    """What the command prints."""
    steps = len(report["steps"])
    answers.print(f"{escape(report['prefix'])} for {report['target']}: {report['macs']:,} multiply-accumulates in {steps} steps",
                  soft_wrap=True)
    if report["exit_policy"] != "none":
        places = ", ".join(f"{escape(e['name'])} after {e['macs']:,}" for e in report["exits"])
        answers.print(f"leaves early by policy {report['exit_policy']}: {places}", soft_wrap=True)
    answers.print(f"RAM: arena {report['arena']:,} bytes; flash: constants {report['constants']:,} bytes", soft_wrap=True)
    if report["measured"]:
        m = report["measured"]
        answers.print(f"as {m['compiler']} compiles it: flash {m['flash']:,} bytes ({m['code']:,} of code), static RAM {m['ram']:,}, "
                      f"stack {m['stack']:,}", soft_wrap=True)
    answers.print(f"written: {escape(', '.join(report['files']))}", soft_wrap=True)


def command(
    model: common.Model,
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", show_default=False, help="Write the C files here.")],
    target_name: Annotated[str, typer.Option("--target", metavar="|".join(TARGETS), help="The core to generate for.")] = "host",
    prefix: Annotated[str | None, typer.Option("--prefix", metavar="NAME", show_default="the file's name", help=(
        "Begins the name of every public symbol."))] = None,
    checks: Annotated[str, typer.Option("--checks", metavar="|".join(PRESETS), help=(
        "What is verified while the model runs: a preset or kinds, as maed,abft."))] = "off",
    on_fault: Annotated[str, typer.Option("--on-fault", metavar="|".join(REACTIONS), help=(
        "After a finding: report it; compute again, and report what is left; or give no answer then."))] = "retry",
    exit_policy: common.ExitPolicy = "none",
    thresholds: common.Thresholds = None,
    patience: common.Patience = None,
    max_ram: Annotated[str | None, typer.Option("--max-ram", metavar="64K", show_default="the board's", help=(
        "Refuse what needs more; with --report the stack counts, too."))] = None,
    max_flash: Annotated[str | None, typer.Option("--max-flash", metavar="256K", show_default="the board's", help=(
        "Refuse what needs more; with --report code counts, too."))] = None,
    report: Annotated[bool, typer.Option("--report", help="Compile for the core and say flash, RAM and stack.")] = False,
    shape: common.Shape = None,
    as_json: common.AsJson = False,
) -> None:
    """Generate C99 for a microcontroller: one source and one header, static memory, no heap, weights as constants.

    The header says how to call it and where everything lies. JSON schema: "edgerun.codegen/1".

    Examples:

      edgerun codegen model.onnx --target cortex-m4 -o firmware/

      edgerun codegen model.onnx --target cortex-m4 -o firmware/ --prefix kws --max-ram 64K --report --json

      edgerun codegen model.onnx --target cortex-m7 -o firmware/ --exit-policy dart
    """
    said = codegen(model, out, target_name=target_name, prefix=prefix, checks=checks, on_fault=on_fault,
                   max_ram=_bytes("--max-ram", max_ram), max_flash=_bytes("--max-flash", max_flash), report=report,
                   shapes=common.parse_shapes(shape), exit_policy=exit_policy, thresholds=common.parse_thresholds(thresholds),
                   patience=patience)
    if as_json:
        common.print_json(said)
    else:
        show(said)


def _bytes(option: str, text: str | None) -> int | None:
    return None if text is None else common.bytes_of(option, text)
