"""From a model to C files: plans it, asks an executor for the golden answer, emits, and holds the result against the memory there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgerun import Session
from edgerun.errors import LimitError, OptionError, ShapeError
from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import Plan, Policy
from edgerun_tools.boards import emitted
from edgerun_tools.codegen import exits, golden
from edgerun_tools.codegen.emit import Golden, Sources, emit
from edgerun_tools.codegen.text import identifier


@dataclass(frozen=True)
class Firmware:
    """The files of one model, and the plan they were made from."""

    prefix: str
    sources: Sources
    plan: Plan
    target: str = "host"

    def write(self, folder: str | Path) -> list[Path]:
        """Writes <prefix>.h, <prefix>.c, CMakeLists.txt and, for `edgerun board`, firmware.json; makes the folder. OptionError where that
        cannot be."""
        path = Path(folder)
        texts = {f"{self.prefix}.h": self.sources.header, f"{self.prefix}.c": self.sources.source, "CMakeLists.txt": self.sources.cmake}
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                (path / name).write_text(text, encoding="ascii", newline="\n")
        except OSError as e:
            raise OptionError(f"--out {folder}: expected a folder that can be written; found: {e}") from e
        facts = emitted.describe(self.prefix, self.target, self.plan, arena_bytes=self.sources.arena_bytes,
                                 outputs=exits.outputs(self.plan))
        return [*(path / name for name in texts), emitted.write(path, facts)]


def of_session(session: Session, prefix: str, title: str, target: str = "host", reaction: str = "retry", *, maed: bool = False) -> Firmware:
    """C for the model of a session: its plan, checks and exits. reaction: to findings; "flag" where the plan writes results over operands
    (Session(on_fault="flag")). maed: see `emit`. ShapeError for inputs without fixed shapes, UnsupportedOpError."""
    unknown = [str(i) for i in session.fixed_inputs if not i.fixed]
    if unknown:
        raise ShapeError(f"{title}: generated C has fixed shapes: expected the shape of {', '.join(unknown)}; give it with --shape "
                         "NAME=1x3x224x224")
    plan = session.plan
    inputs = golden.feeds(plan)
    run = PythonExecutor(replace(plan, policy=Policy())).run if exits.active(plan) else session.run_raw  # to the end
    outputs = [a for a in run(inputs).outputs if a is not None]
    return Firmware(prefix, emit(plan, prefix, title, Golden(inputs, outputs, golden.tolerance(outputs)), target, reaction, maed), plan,
                    target)


def prefix_of(model: str, given: str | None) -> str:
    """The caller's prefix, or one like the file's name. OptionError for what is no C name."""
    if given is None:
        return identifier(Path(model).stem).lower()
    if identifier(given) != given:
        raise OptionError(f"--prefix: expected a C name; found {given!r}")
    return given


def hold(firmware: Firmware, ram: int | None, flash: int | None) -> None:
    """LimitError where arena or constants alone are beyond what there is; code and stack come on top (--report measures them)."""
    s = firmware.sources
    sizes = (("--max-ram", ram, s.arena_bytes, "the arena"), ("--max-flash", flash, sum(s.constant_bytes.values()), "weights and tables"))
    for option, most, needed, what in sizes:
        if most is not None and needed > most:
            raise LimitError(f"{option}: expected at most {most} bytes; found {needed} for {what} alone{_largest(firmware, option)}; "
                             "quantize the model to int8, choose a smaller one, or a larger part")


def _largest(firmware: Firmware, option: str) -> str:
    """Which step asks for most, as words."""
    plan, s = firmware.plan, firmware.sources
    if not plan.steps:
        return ""
    if option == "--max-flash":
        k = max(range(len(plan.steps)), key=lambda i: s.constant_bytes.get(i, 0))
        size = s.constant_bytes.get(k, 0)
    else:
        sizes = [sum(plan.slots[i].nbytes for i in {*step.inputs, *step.outputs} if i >= 0 and plan.slots[i].place == "arena")
                 + s.scratch.get(i, (0, 0))[1] for i, step in enumerate(plan.steps)]
        k = max(range(len(sizes)), key=sizes.__getitem__)
        size = sizes[k]
    return f", most of it, {size} bytes, at {plan.steps[k].op or plan.steps[k].kernel}, node '{plan.steps[k].node}'"
