"""The page docs/maed-faults.md from the rows of edgerun_tools.maed_faults."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import edgerun
import edgerun_kernels
from edgerun_tools import maed_engine, maed_terms
from edgerun_tools.maed_rows import DTYPES, SPREADS, STRUCK, Alarms, Clean, Engine, Row, Terms, methods
from edgerun_tools.maed_words import MODELS, cases
from edgerun_tools.rates import Rate


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text."""
    return "\n".join([f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1), *(f"| {' | '.join(v)} |" for v in lines)]) + "\n"


def total(rates: Sequence[Rate]) -> Rate:
    """All trials together."""
    return reduce(Rate.__add__, rates, Rate(0, 0))


def of(rows: Sequence[Row], kind: type, **wanted: Any) -> list[Row]:
    """The rows of a kind with these values."""
    return [r for r in rows if isinstance(r, kind) and all(getattr(r, k) == v for k, v in wanted.items())]


def summary(rows: Sequence[Row]) -> str:
    """All fault cases of a function together, and its false alarms."""
    lines = []
    for dtype, function, method in ((d, f, m) for d in DTYPES for f in maed_terms.FUNCTIONS for m in methods(d)):
        cells = of(rows, Terms, dtype=dtype, function=function, method=method)
        clean = of(rows, Clean, dtype=dtype, function=function, method=method)
        lines.append([f"{function}, {dtype}", method, *(total([getattr(c, k) for c in cells]).text() for k in (
            "masked", "found", "reported")), *(total([getattr(c, k) for c in cells]).text(True) for k in ("effective", "beyond")),
            *(c.alarms.text(True) for c in clean)])
    return table(["function", "check", "masked", "found of all", "as the paper counts", "of effective", "of those beyond our bound",
                  *(f"false alarms ±{s}" for s in SPREADS)], lines)


def details(rows: Sequence[Row], dtype: str, function: str) -> str:
    """Every case of one function."""
    chosen = methods(dtype)
    lines = []
    for (model, bits), struck in ((c, s) for c in cases() for s in STRUCK):
        line = [model, str(struck), str(bits) if bits else "word"]
        for method in chosen:
            (cell,) = of(rows, Terms, dtype=dtype, function=function, method=method, model=model, bits=bits, struck=struck)
            line += [cell.masked.text(), cell.found.text(), cell.effective.text(True), cell.beyond.text()]
        lines.append(line)
    head = [f"{m}: {what}" for m in chosen for what in ("masked", "of all", "of effective", "beyond our bound")]
    return f"### {function}, {dtype}\n\n{table(['fault', 'terms', 'bits', *head], lines)}"


def relu_table(rows: Sequence[Row]) -> str:
    """Idempotence beside ours."""
    lines = [[r.fault, r.masked.text(), r.idempotence.text(True), r.ours.text(True)] for r in of(rows, maed_engine.ReluRow)]
    return table(["fault", "masked", "idempotence, of the rest", "ours, of the rest"], lines)


def engine_table(rows: Sequence[Row], width: int, checks: str, shape: str, what: str) -> str:
    """Activations down, fault models across."""
    cells = of(rows, Engine, width=width, checks=checks, shape=shape)
    lines = [[op, *(getattr(c, what).text() for c in cells if c.op == op)] for op in dict.fromkeys(c.op for c in cells)]
    return table(["activation", *MODELS], lines)


def alarms_table(rows: Sequence[Row]) -> str:
    """False alarms of the engine."""
    found = of(rows, Alarms)
    lines = [[f"{op}, {checks}", *(a.alarms.text(True) for a in found if (a.op, a.checks) == (op, checks))]
             for op, checks in dict.fromkeys((a.op, a.checks) for a in found)]
    return table(["activation, checks", *(f"±{s}" for s in SPREADS)], lines)


HEAD = """# Faults that MAED's checks see

Measured with `python -m edgerun_tools.maed_faults{arguments}`: edgerun {edgerun} ({isa}), {trials} trials a cell. All numbers are
percentages, in brackets exact (Clopper–Pearson) 95 % intervals. The identities are in [checks.md](checks.md).

The fault models are the eight of the MAED paper (arXiv 2603.18120), as in the authors' simulation: a word is *skipped* (0) or *altered*
(a normal deviate times its power of ten), or 2 or 5 of its mantissa bits are flipped, stuck at 1 or stuck at 0, at random or as a burst.

A fault is *masked* when the result changes by less than 1e-15, otherwise *effective* (the paper's measure); *beyond our bound* are changes
of more than 16 machine epsilons of the result, below which our checks cannot and need not tell a fault from rounding. *As the paper
counts*: 1 − undetected/N, masked faults being covered. A check that raises false alarms "finds" faults by chance: read these columns
together. Of the faults beyond our bound, ours misses the few that lie within rounding of it.
"""
TERMS = """
## Faults in the terms of the exponential

1, 3 or 6 terms of one evaluation are struck; operands are uniform in ±3, as in the paper. The fault hits the sum that gives the result,
after the sum for the check was formed from the clean terms. Three checks, each on its own computation:

- **simulator**: the authors' simulation; 30 Maclaurin terms (tanh 40), absolute thresholds of 1e-13 (tanh 1e-14). Not for float32: the
  thresholds are below its resolution.
- **program**: their C program, which `--checks maed-paper` follows; 30 terms, absolute 1e-6.
- **ours**: our kernels have no Maclaurin terms. The operand is reduced, and e^r = E + O and e^-r = E − O come from the even and odd terms
  of one polynomial; the fault is put into those terms in the same way. In float32 with the kernels' own coefficients (6 or 7 terms), in
  float64 the same form with 15 or 16. Relative bound of 16 machine epsilons.

"""
RELU = """
## ReLU

y = relu(x), x normal, one fault in the 32-bit word of y; masked: y changes by at most 1e-6. Idempotence, relu(y) = y, is the published
check; ours is y ≥ 0 and y + min(x, 0) = x.

"""
ENGINE = """
## Faults in the engine's results

`Session.arm_fault` strikes one result of an activation in the C++ engine, before the kernel checks it; bits are 2 and 5 by turns.

### Ours, tensors of 4,096 values: faults beyond our bound that were found

The bounds are those of [checks.md](checks.md). Sigmoid, SiLU and GELU are judged over up to 64 values of a lane together, so a fault just
beyond the bound can drown there; bits of the mantissa only:

{mantissa}
Any of the 32 bits:

{word}
The same, of all faults that changed the value at all (any of the 32 bits):

{changed}
### One value, uniform in ±3: the published checks and ours

Found of all faults that changed the value (any of the 32 bits), `--checks maed-paper`:

{paper}
`--checks maed`:

{ours}
False alarms of either on clean values:

{alarms}"""


def markdown(rows: Sequence[Row], trials: int, arguments: str = "") -> str:
    """The page docs/maed-faults.md."""
    text = HEAD.format(arguments=arguments, edgerun=edgerun.__version__, isa=edgerun_kernels.isa(), trials=f"{trials:,}")
    if of(rows, Terms):
        text += TERMS + summary(rows) + "\n" + "\n".join(details(rows, d, f) for d in DTYPES for f in maed_terms.FUNCTIONS)
    if of(rows, maed_engine.ReluRow):
        text += RELU + relu_table(rows)
    if of(rows, Engine):
        text += ENGINE.format(
            mantissa=engine_table(rows, 23, "maed", "tensor", "beyond"), word=engine_table(rows, 32, "maed", "tensor", "beyond"),
            changed=engine_table(rows, 32, "maed", "tensor", "changed"), paper=engine_table(rows, 32, "maed-paper", "value", "changed"),
            ours=engine_table(rows, 32, "maed", "value", "changed"), alarms=alarms_table(rows))
    return text
