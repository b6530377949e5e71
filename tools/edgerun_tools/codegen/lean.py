"""Checks in C for cores of 2 KB of RAM: kernels return nonzero where an identity is violated, and only then anything else happens, so that
a clean run pays for the identities and a test of each result. What larger cores have: checks/source.py."""

from __future__ import annotations

from edgerun.errors import OptionError
from edgerun_tools.codegen.checks.asked import KINDS, TRIES
from edgerun_tools.codegen.header import About
from edgerun_tools.codegen.site import Program

CHECKS = ("off", "maed")
REACTIONS = ("flag", "retry")
"""What such a core has."""
STATE = """/* -- checks -- */

static struct {{
  uint16_t faults, recomputed;
  int16_t first, last; /* steps, from 1 */
  uint8_t tries, open; /* open: steps with a fault that computing again did not cure */
}} er_watch;

/* An identity of a step was violated. Whether the step is to be computed again. */
ER_APART uint8_t er_failed(int16_t step) {{
  if (er_watch.faults++ == 0) er_watch.first = (int16_t)(step + 1);
{again}  ++er_watch.open;
  return 0;
}}
"""
AGAIN = f"""  if (er_watch.last != step + 1) er_watch.tries = 0;
  er_watch.last = (int16_t)(step + 1);
  if (er_watch.tries++ < {TRIES}) {{
    ++er_watch.recomputed;
    return 1;
  }}
"""


def require(checks: str, on_fault: str, target: str) -> None:
    """OptionError for what such a core does not have."""
    for option, known, found in (("--checks", CHECKS, checks), ("--on-fault", REACTIONS, on_fault)):
        if found not in known:
            raise OptionError(f"{option}: expected one of {', '.join(known)} for {target}, whose memory is small; found {found!r}")


class Lean:
    """Emits what is around the guarded calls (Site.guard); the parts are those of checks.source.Checked."""

    def __init__(self, program: Program, about: About) -> None:
        self.program, self.about = program, about

    def fragments(self) -> list[str]:
        """No files but the kernels'."""
        return []

    def state(self) -> str:
        """What is static besides the arena."""
        return STATE.format(again=AGAIN if self.program.asked.tries else "")

    def scrub_function(self) -> str:
        """None."""
        return ""

    @staticmethod
    def _before() -> str:
        return "  if (er_watch.faults) memset(&er_watch, 0, sizeof er_watch);"

    def run_lines(self, arguments: str, reports: list[str], copies: list[str]) -> list[str]:
        """The body of <prefix>_run. reports: what fills the report without checks; copies: results into the caller's arrays."""
        big, kind = self.about.prefix.upper(), KINDS["maed"]
        fields = {"faults": "er_watch.faults", "recomputed": "er_watch.recomputed", "first_step": "(int16_t)(er_watch.first - 1)",
                  "first_check": f"er_watch.faults ? {kind} : 0", "checks_passed": f"{self.program.guarded}u - er_watch.open"}
        reports = [line for line in reports if "first_step" not in line]
        return [self._before(), f"  infer({arguments});", *copies, *reports[:-1],
                *(f"    report->{field} = {value};" for field, value in fields.items()), reports[-1],
                f"  return er_watch.open ? {big}_FAULT : {big}_OK;"]

    def selftest_lines(self, arguments: str, names: dict[str, str], finite: bool) -> list[str]:
        """What <prefix>_selftest does before it compares."""
        del names
        return [self._before(), f"  infer({arguments});", f"  if (er_watch.faults) return {self.about.prefix.upper()}_FAULT;"]
