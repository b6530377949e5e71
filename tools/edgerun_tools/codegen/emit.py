"""A plan as C: one source, one header, a CMake snippet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import OptionError, ShapeError, UnsupportedOpError
from edgerun.planner.plan import Plan, Port
from edgerun_tools.codegen import exits, fragments, header, lean
from edgerun_tools.codegen.checks import asked, source
from edgerun_tools.codegen.memory import Memory
from edgerun_tools.codegen.pieces import pieces_of
from edgerun_tools.codegen.site import Program, Site
from edgerun_tools.codegen.targets import TARGETS
from edgerun_tools.codegen.text import C_TYPES, array, identifier, number, remark

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Golden:
    """Inputs, all the outputs that a run to the end gives, and by how much float results may differ (absolutely)."""

    inputs: Sequence[Array]
    outputs: Sequence[Array]
    tolerance: Sequence[float]


@dataclass(frozen=True)
class Sources:
    """What is written, and what it says about memory. constant_bytes: weights and tables, by step; checks: kinds that are compiled in."""

    header: str
    source: str
    cmake: str
    arena_bytes: int
    constant_bytes: dict[int, int]
    scratch: dict[int, tuple[int, int]]
    checks: tuple[str, ...] = ()


def emit(plan: Plan, prefix: str, title: str, golden: Golden, target: str = "host", reaction: str = "retry", maed: bool = False) -> Sources:
    """C for a plan, with the checks that it asks for. prefix: a C name; title: what the comments call the model; reaction: to findings,
    one of checks.asked.REACTIONS; maed: whether activations are verified on a small core (lean.py), where the plan's own checks are
    not. Raises UnsupportedOpError, ShapeError, OptionError."""
    _refuse_whole(plan)
    taken = {"report", "arena", "infer", *exits.way(plan).names}
    inputs = [(p, identifier(p.name, taken)) for p in plan.inputs]
    outputs = [(p, identifier(p.name, taken)) for p in exits.outputs(plan)]
    small = TARGETS[target].harvard
    program = Program(plan, Memory(plan), tuple(name for _, name in inputs), calls=[[] for _ in plan.steps],
                      asked=asked.Asked(frozenset(), False, reaction) if small else asked.of_plan(plan, reaction), harvard=small,
                      maed=small and maed, mve=TARGETS[target].mve)
    pieces = pieces_of(TARGETS[target])
    for k, step in enumerate(plan.steps):
        if step.kernel == "exit" and not exits.active(plan):
            continue
        if step.kernel not in pieces:
            raise UnsupportedOpError(f"{step.op or step.kernel}, node '{step.node}': expected an operator that generated C has "
                                     f"for {target} ({', '.join(sorted({n.rpartition('_')[0] for n in pieces} - {''}))}); found kernel "
                                     f"{step.kernel}; run this model with the engine, or replace the node")
        pieces[step.kernel](Site(program, k))
    if program.maed and not program.guarded:
        raise OptionError(f"--checks: expected a Sigmoid or Tanh for maed on {target}; found none that is symmetric on its grid; use off")
    about = header.About(prefix, title, target, plan, tuple(inputs), tuple(outputs), program.memory, program.constant_bytes,
                         program.asked, sum(len(data) for _, _, data in program.images), program.guarded)
    return Sources(header.header(about), _source(program, about, golden), header.cmake(about), program.memory.bytes, program.constant_bytes,
                   program.memory.scratch_of, ("maed",) if program.guarded else tuple(sorted(program.asked.kinds)))


def _refuse_whole(plan: Plan) -> None:
    exits.refuse(plan)
    for _, node, op, reason in plan.fallbacks:
        raise UnsupportedOpError(f"{op}, node '{node}': expected an operator with a kernel of edgerun's; found one that only the "
                                 f"reference can run ({reason}); replace the node")
    for step in plan.steps:
        if step.kernel in ("branch", "jump", "onnx_graph"):
            raise UnsupportedOpError(f"{step.op or step.kernel}, node '{step.node}': expected a graph without control flow and "
                                     "data-dependent shapes; found If, Loop, Scan or such; cut the model there")
    for port in (*plan.inputs, *plan.outputs):
        if plan.slots[port.slot].dtype not in C_TYPES:
            raise UnsupportedOpError(f"tensor '{port.name}': expected a type that C has; found {plan.slots[port.slot].dtype}; convert "
                                     "the model")
    if any(s.nbytes >= 2**31 for s in plan.slots):
        raise ShapeError("expected tensors below 2 GiB, as generated C counts in 32 bits; found a larger one")


def _source(program: Program, about: header.About, golden: Golden) -> str:
    checked: source.Checked | lean.Lean | None = None
    if program.guarded:
        checked = lean.Lean(program, about)
    elif program.asked.kinds:
        checked = source.Checked(program, about)
    on = program.asked.switches
    names = fragments.needed(["base.h", *(["flash.h"] if program.harvard else []), *(checked.fragments() if checked else ()),
                              *program.fragments], on)
    parts = [f"/* {remark(about.title)}: generated by edgerun; see {about.prefix}.h. */", f'#include "{about.prefix}.h"\n']
    parts.append("\n".join(f"#include {h}" for h in fragments.system_headers(names)) + "\n")
    parts += [f"#define {name} 1\n" for name in sorted(program.defines)]
    if isinstance(checked, source.Checked):
        parts.append(source.before_kernels(program))
    parts += [f"/* -- {name} -- */\n{fragments.body(name, on)}" for name in names]
    parts.append("/* -- weights and tables -- */\n")
    parts += program.tables
    parts.append(_arena(program))
    parameters = ", ".join([*(about.parameter(p, n) for p, n in about.inputs), *exits.way(program.plan).parameters]) or "void"
    comments = [_comment(program.plan, k) for k in range(len(program.plan.steps))]
    unused = [f"  (void){n};" for p, n in about.inputs if not _reads(program.plan, p)]
    infer = _infer(program, parameters, comments, unused)
    if isinstance(checked, source.Checked):
        infer = checked.infer(parameters, comments, unused)
    if checked:
        parts += [checked.state(), infer, checked.scrub_function()]
    else:
        parts.append(infer)
    parts.append(_run(program, about, checked))
    parts.append(_selftest(program, about, golden, checked))
    return "\n".join(parts)


def _arena(program: Program) -> str:
    size = max(program.memory.bytes, 8)
    return ("/* -- memory -- */\n\n/* Everything that is written lies here; its members are the same bytes. */\n"
            f"static union {{\n  float f32[{size // 4}];\n  uint8_t u8[{size}];\n  int16_t i16[{size // 2}];\n  int32_t i32[{size // 4}];\n"
            f"  int64_t i64[{size // 8}];\n}} arena;\n")


def _infer(program: Program, parameters: str, comments: list[str], unused: list[str]) -> str:
    lines = []
    for k, calls in enumerate(program.calls):
        if calls:
            lines.append(f"  /* {comments[k]} */")
            lines += [f"  {line}" for line in calls]
    way = exits.way(program.plan)
    return (f"/* {way.does}; results stay in the arena. */\nstatic {way.result} infer({parameters}) {{\n"
            + "\n".join([*unused, *lines, *way.end]) + "\n}\n")


def _comment(plan: Plan, k: int) -> str:
    step = plan.steps[k]
    shape = list(plan.slots[step.outputs[0]].shape) if step.outputs else exits.name(plan, step)
    return f"{k}: {remark(step.op or step.kernel)} {remark(step.node)!s} {shape}"


def _reads(plan: Plan, port: Port) -> bool:
    return any(k in s.inputs for s in plan.steps for k in [i for i, v in enumerate(plan.slots) if v.place == "input"
               and plan.inputs[v.offset].name == port.name])


def _held(program: Program, about: header.About, port: Port) -> str:
    """C expression of where a result lies after `infer`."""
    slot = program.plan.slots[port.slot]
    if slot.place == "arena":
        return f"arena.u8 + {slot.offset}" if slot.offset else "arena.u8"
    if slot.place == "input":
        return about.inputs[slot.offset][1]
    return f"result_{about.outputs_by_slot[port.slot]}"


def _run(program: Program, about: header.About, checked: source.Checked | lean.Lean | None) -> str:
    p = about.prefix
    plan, way = program.plan, exits.way(program.plan)
    tables = [array(f"result_{name}", "uint8_t", _bytes_of(plan.constants[plan.slots[slot].offset]))
              for slot, name in about.outputs_by_slot.items() if plan.slots[slot].place == "const"]
    pointers = [n for _, n in (*about.inputs, *about.outputs)]
    held = {port.slot: _held(program, about, port) for port in (*(p for p, _ in about.outputs), *plan.outputs)}
    arguments = ", ".join(n for _, n in about.inputs)
    reports = [
        "  if (report) {",
        "    memset(report, 0, sizeof *report);",
        f"    report->exit_taken = {way.taken};",
        "    report->first_step = -1;",
        "  }"]
    lines = [*way.begun(arguments, reports), *way.copies(about.outputs, held), f"  return {p.upper()}_OK;"]
    if checked:
        lines = checked.run_lines(arguments, reports, way.copies(about.outputs, held))
    return "\n".join([
        *tables,
        f"int {p}_run({about.parameters()}) {{",
        *way.declared,
        f"  if ({' || '.join(f'!{n}' for n in pointers)}) return {p.upper()}_BAD_ARGUMENT;",
        *lines,
        "}\n"])


def _bytes_of(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _selftest(program: Program, about: header.About, golden: Golden, checked: source.Checked | lean.Lean | None) -> str:
    tables, tests, copies = [], [], []

    def stored(name: str, c_type: str, values: Array) -> None:
        """A table that the test reads as golden_<name>; from program memory it is copied to the stack."""
        if program.harvard:
            copies.append((f"  {c_type} golden_{name}[{max(values.size, 1)}];",
                           f"  ER_FROM_FLASH(golden_{name}, stored_{name}, sizeof stored_{name});"))
            tables.append(array(f"stored_{name}", c_type, values, "ER_FLASH"))
        else:
            tables.append(array(f"golden_{name}", c_type, values))

    for (port, name), values in zip(about.inputs, golden.inputs, strict=True):
        stored(name, C_TYPES[program.plan.slots[port.slot].dtype], values)
    inputs = {n: f"golden_{n}" for _, n in about.inputs}
    way = exits.way(program.plan)
    for (port, name), values, bound in zip(way.tested(about.outputs), golden.outputs, golden.tolerance, strict=True):
        slot = program.plan.slots[port.slot]
        held = _held(program, about, port)
        held = inputs.get(held, held)
        if slot.nbytes == 0:
            continue
        if slot.dtype == "f32":
            stored(name, "float", values)
            condition = f"differs({held}, golden_{name}, {slot.elements}, {number(bound, 'float')})"
        else:
            stored(name, "uint8_t", _bytes_of(values))
            condition = f"memcmp({held}, golden_{name}, {slot.nbytes}) != 0"
        tests.append(f"  if ({condition}) return {about.prefix.upper()}_SELFTEST_FAILED;")
    helper = ""
    if any("differs(" in t for t in tests):
        helper = ("static int differs(const void *found, const float *expected, int32_t n, float bound) {\n  int32_t k;\n"
                  "  for (k = 0; k < n; ++k) {\n    float v;\n    memcpy(&v, (const uint8_t *)found + 4 * k, sizeof v);\n"
                  "    if (v == expected[k] || (v != v && expected[k] != expected[k])) continue;\n"
                  "    if (!(fabsf(v - expected[k]) <= bound)) return 1;\n  }\n  return 0;\n}\n\n")
    arguments = ", ".join([*(f"golden_{n}" for _, n in about.inputs), *way.whole])
    finite = all(np.isfinite(a).all() for a in golden.outputs if a.dtype.kind == "f")
    computed = checked.selftest_lines(arguments, inputs, finite) if checked else [f"  infer({arguments});"]
    fetched = [line for half in zip(*copies, strict=True) for line in half]
    return ("/* -- self-test -- */\n\n" + "\n".join(tables) + "\n" + helper + f"int {about.prefix}_selftest(void) {{\n"
            + "\n".join([*fetched, *computed, *tests]) + f"\n  return {about.prefix.upper()}_OK;\n}}\n")
