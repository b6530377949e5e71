"""Calls with their checks: a step is computed, verified, and computed again where that found something."""

from __future__ import annotations

from edgerun.executors.guarding import asks
from edgerun.planner.plan import CONTROL
from edgerun_tools.codegen import exits
from edgerun_tools.codegen.checks import scrub
from edgerun_tools.codegen.checks.asked import KINDS, verifies_rescaling
from edgerun_tools.codegen.checks.buffers import Buffers, Kept
from edgerun_tools.codegen.header import About
from edgerun_tools.codegen.site import Program

SEED, PRIME = 2166136261, 16777619
"""Of FNV-1a, which the signature of the steps is."""


def before_kernels(program: Program) -> str:
    """What the kernels' files stand on: numbers of the kinds, how often a step is computed again."""
    names = [f"#define ER_CHECK_{kind.upper().replace('-', '_')} {k}" for kind, k in KINDS.items() if kind in program.asked.kinds]
    return "\n".join([*names, f"#define ER_TRIES {program.asked.tries}"]) + "\n"


class Checked:
    """Emits a program whose plan asks for checks."""

    def __init__(self, program: Program, about: About) -> None:
        self.program, self.about, self.plan = program, about, program.plan
        self.buffers, self.way = Buffers(program.plan), exits.way(program.plan)
        self.flow = SEED
        self.passed = 0
        self._inputs = self.buffers.inputs()

    # -- infer --------------------------------------------------------------------------------------------------------

    def fragments(self) -> list[str]:
        """The files of checks that no piece asks for."""
        sums = ["word_sum.c"] if self.program.asked.kinds & {"buffers", "duplicate"} else []
        return ["watch.h", *sums, *(["scrub.c"] if self.scrubs else [])]

    def infer(self, parameters: str, comments: list[str], unused: list[str]) -> str:
        """All steps as one function."""
        lines = ["  er_begin();"]
        for k, step in enumerate(self.plan.steps):
            if not self.program.calls[k]:
                continue
            lines.append(f"  /* {comments[k]} */")
            lines += self._control(k) if step.kernel in CONTROL else self._step(k)
        if "flow" in self.program.asked.kinds:
            lines.append(self._judge(len(self.plan.steps) - 1, "flow", f"er_watch.flow == 0x{self.flow:08x}u"))
        if "word_sum.c" in self.fragments() and not any("er_same(" in line for line in lines):
            lines.append("  (void)er_same; /* nothing that is summed is read again */")
        return (f"/* {self.way.does}; results stay in the arena. What the checks found is in er_watch. */\n"
                f"static {self.way.result} infer({parameters}) {{\n" + "\n".join([*unused, *lines, *self.way.end]) + "\n}\n")

    def _control(self, k: int) -> list[str]:
        """An exit: what it decides by must hold, and all steps up to it have run."""
        tests = [self._unchanged(kept) for kept in self.buffers.read(k)]
        if asks(self.plan.steps[k], "flow"):
            tests.append(self._judge(k, "flow", f"er_watch.flow == 0x{self.flow:08x}u"))
        return [*tests, *self._abort(bool(tests)), *(f"  {line}" for line in self.program.calls[k])]

    def _step(self, k: int) -> list[str]:
        step, calls = self.plan.steps[k], self.program.calls[k]
        checks = self.program.checks.get(k, [])
        audited = any(kind == "abft" for kind, _ in checks)
        kinds = {kind for kind, _ in checks}
        twice = asks(step, "duplicate") and not audited
        operands = self.buffers.read(k) if asks(step, "buffers") else []
        results = self.buffers.written(k, asks(step, "buffers") or twice)
        body = [*calls, *(f"er_sums[{r.number}] = er_word_sum({self._at(r)}, {r.nbytes});" for r in results)]
        if twice:
            body += ["ER_FORGET_MEMORY;", *calls]
            body += [f"if (!er_same({self._at(r)}, {r.nbytes}, er_sums + {r.number})) er_watch.now |= 1u << ER_CHECK_DUPLICATE;"
                     for r in results]
            kinds.add("duplicate")
        if asks(step, "maed") and not verifies_rescaling(step):
            body.append("er_identities();")
        kinds |= {"maed"} if asks(step, "maed") else set()
        kinds |= {"range"} if asks(step, "range") and audited else set()
        body += [call for _, call in checks]
        self._mark(2 * k)
        self._mark(2 * k + 1)
        count = len(kinds)
        self.passed += count
        lines = [f"  er_enter({k});", "  do {", *(f"    {line}" for line in body), f"  }} while (er_again({k}, {count}u));"]
        lines += [self._unchanged(kept) for kept in operands]
        return lines + self._abort(bool(count or operands))

    def _abort(self, possible: bool) -> list[str]:
        return [f"  if (er_watch.open) {self.way.give_up}"] if possible and self.program.asked.reaction == "abort" else []

    def _mark(self, mark: int) -> None:
        self.flow = (self.flow ^ mark) * PRIME & 0xFFFFFFFF

    def _judge(self, step: int, kind: str, holds: str) -> str:
        return f"  er_judge({step}, ER_CHECK_{kind.upper()}, {holds});"

    def _at(self, kept: Kept) -> str:
        return self.about.inputs[kept.offset][1] if kept.place == "input" else f"arena.u8 + {kept.offset}" if kept.offset else "arena.u8"

    def _unchanged(self, kept: Kept) -> str:
        return self._judge(kept.step, "buffers", f"er_same({self._at(kept)}, {kept.nbytes}, er_sums + {kept.number})")

    # -- around it ----------------------------------------------------------------------------------------------------

    def state(self) -> str:
        """What is static besides the arena; to be asked after `infer`, and to be written before it."""
        parts = []
        if self.buffers.count:
            parts.append("/* Of inputs and results, in the order in which they are made. */\n"
                         f"static er_word_sums er_sums[{self.buffers.count}];\n")
        if "abft_f32.c" in self.program.fragments:
            parts.append(f"/* S of abft_f32.c, by step. */\nstatic float er_sizes[{len(self.plan.steps)}];\n")
        if "weights" in self.program.asked.kinds and self.program.images:
            parts.append(scrub.source(self.program.images))
        return "\n".join(parts)

    @property
    def scrubs(self) -> bool:
        return "weights" in self.program.asked.kinds and bool(self.program.images)

    def scrub_function(self) -> str:
        """<prefix>_scrub."""
        p, big = self.about.prefix, self.about.prefix.upper()
        if not self.scrubs:
            return f"int {p}_scrub(void) {{\n  return {big}_OK;\n}}\n"
        blocks, total = len(self.program.images), sum(len(data) for _, _, data in self.program.images)
        return (f"int {p}_scrub(void) {{\n  er_start();\n  memset(&er_scrubbed, 0, sizeof er_scrubbed);\n"
                f"  er_scrub(er_blocks, {blocks}u, er_crc_table, {total}u);\n  return er_watch.worn ? {big}_FAULT : {big}_OK;\n}}\n")

    def before(self, some: bool, names: dict[str, str]) -> list[str]:
        """What comes before the first step of a run: a share of the constants, sums over the inputs. names: inputs → arguments."""
        lines = []
        if some and self.scrubs:
            lines.append(f"  er_scrub(er_blocks, {len(self.program.images)}u, er_crc_table, {self.about.prefix.upper()}_SCRUB_BYTES);")
        lines += [f"  er_sums[{k.number}] = er_word_sum({names[self._at(k)]}, {k.nbytes});" for k in self._inputs]
        return lines

    def run_lines(self, arguments: str, reports: list[str], copies: list[str]) -> list[str]:
        """The body of <prefix>_run. reports: what fills the report without checks; copies: results into the caller's arrays."""
        big = self.about.prefix.upper()
        fields = {"checks_passed": "passed", **{n: n for n in ("faults", "recomputed", "first_step", "first_check")}}
        reports = [line for line in reports if "first_step" not in line]
        reports = [*reports[:-1], *(f"    report->{field} = er_watch.{member};" for field, member in fields.items()), reports[-1]]
        tests = self.way.each(self.about.outputs, self.handed_out)
        own = {name: name for _, name in self.about.inputs}
        failed = "er_watch.open || er_watch.worn"
        if self.program.asked.reaction == "abort":
            copies = [f"  if (!({failed})) {{", *(f"  {line}" for line in (*copies, *tests)), "  }"]
            tests = []
        return ["  er_start();", *self.before(True, own), *self.computed(arguments), *copies, *tests, *reports,
                f"  return {failed} ? {big}_FAULT : {big}_OK;"]

    def selftest_lines(self, arguments: str, names: dict[str, str], finite: bool) -> list[str]:
        """What <prefix>_selftest does before it compares. finite: whether the golden answer is; a NaN of the model's own is an alarm by
        right."""
        big = self.about.prefix.upper()
        return [f"  if ({self.about.prefix}_scrub() != {big}_OK) return {big}_FAULT;", "  er_start();", *self.before(False, names),
                f"  infer({arguments});", *([f"  if (er_watch.faults) return {big}_FAULT;"] if finite else [])]

    def computed(self, arguments: str) -> list[str]:
        """A run, and once more where a fault is left."""
        if not self.program.asked.tries:
            return [f"  {self.way.call(arguments)}"]
        steps = sum(1 for calls in self.program.calls if calls)
        return [f"  {self.way.call(arguments)}", "  if (er_watch.open) { /* from the inputs again */", "    er_watch.open = 0;",
                f"    er_watch.recomputed = (uint16_t)(er_watch.recomputed + {steps}u);", f"    {self.way.call(arguments)}", "  }"]

    def handed_out(self, slot: int, name: str) -> list[str]:
        """That a copy of a result is what was computed."""
        value = self.plan.slots[slot]
        found = [k for k in self.buffers.of(value) if asks(self.plan.steps[k.step], "buffers")]
        if [(k.offset, k.nbytes) for k in found] == [(value.offset, value.nbytes)]:
            return [self._judge(found[0].step, "buffers", f"er_same({name}, {value.nbytes}, er_sums + {found[0].number})")]
        return [self._unchanged(k) for k in found]
