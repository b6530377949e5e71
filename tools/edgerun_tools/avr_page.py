"""The page docs/avr.md from what edgerun_tools.avr_maed measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgerun_tools.avr_faults import Tally
from edgerun_tools.maed_page import table
from edgerun_tools.rates import Rate

if TYPE_CHECKING:
    from edgerun_tools.avr_maed import Cost
    from edgerun_tools.avr_paper import Published

HEAD = """# A perceptron on an ATmega328P

Measured with `python -m edgerun_tools.avr_maed` in simavr, whose cycles are exact; `{compiler}`. The network is `digits_mlp` of the zoo:
8×8 pixels, 64 sigmoid and 24 tanh neurons, 10 outputs, 5,872 multiply-accumulates; the pictures are scikit-learn's 1,797 digits. The core
has 32 KiB of flash and 2 KiB of RAM.

```
edgerun codegen int8.onnx --target avr-atmega328p --checks maed -o firmware/
edgerun board run firmware/ --board atmega328p --input digits.npy
```

## Cycles, memory, answers

*int8* takes pixels and gives integers (`edgerun_tools.integers.bare` of the quantised model); most of what float32 at its ends costs is 64
divisions. flash, RAM: of the firmware in bytes, without C library and harness; stack: the deepest that was written. equal: answers with the
engine's bits; of float32, by how much answers differ at most from the engine's, of the largest answer. right: of all pictures counted
here, training images among them (the test split: the card of the model).

"""
FORMS = """
What the checks cost, and how many multiply-accumulates a neuron needs so that this is 1 % of all:

- **int8**: 6 cycles a neuron (one more access to a table: 3, its page: 1, two additions), {int8:.1f} with what is around a layer. A
  multiply-accumulate takes 8.7 in the inner loop and {mac8:.1f} with everything else: {fan8:.0f} of them; this network has 67 a neuron.
- **float32**: {float32:.0f} cycles a neuron, four operations of software floating point (the other sum of the exponential, twice + 1, a
  product) and a comparison. A multiply-accumulate takes {mac32:.0f}: {fan32:.0f} of them. In this form the bar of 1 % is missed.

## How it is verified

The function of a byte is a table. A second table has the function at -x, on the same grid: sigmoid(x) + sigmoid(-x) = 1 and
tanh(x) + tanh(-x) = 0 become T[i] + M[i] = constant for all 256 bytes, exactly, because M is rounded so that it holds; the generator
verifies that T itself has that symmetry, to a step of the grid. The kernel fetches both, adds up all bytes of a layer modulo 256, and
compares once (`kernels/edgerun_kernels/c/lut_mirror.c`); where its two pointers end shows loads and stores that were left out. A violated
layer is computed again (`recomputed` in the report); what is left then gives a negative status.

In float32 e^x and e^-x come from the even and odd parts of one polynomial, as in the engine: y (1 + e^x) = e^x, and for tanh
y (e^2x + 1) = e^2x - 1, within 32 neighbouring floats (`sigmoid_pair_f32.c`, `tanh_pair_f32.c`).

Not seen: what happened before the activation (weights, products: other checks are not there on this core), an operand that both fetches
share, and faults of one layer that cancel modulo 256.

## The published form

MAED's public C program evaluates 30 Maclaurin terms in float32, and a second sum of the same terms for y / (1 - y) = e^x within 1e-6. One
sigmoid of it in simavr, operands uniform in ±3 (`avr_paper.c`); the last column: of a neuron with 64 products, as in this network.

{published}
Both checks cost more cycles than ours in float32, and cry wolf: a float32 y does not hold e^x to 1e-6. Less than 1 % of a neuron they are
from 1,350 products on, or 260 with the sums apart.

## False alarms

{alarms} in {pictures:,} clean runs of the int8 form: {rate} %, in brackets the exact 95 % interval. Pictures: the 1,797 digits, the others
a seeded choice of these moved by one pixel in eight directions.

## Faults

"""
TERMS = """\
The fault models of the MAED paper, {trials:,} trials a row, on the byte that was fetched for one, three or six neurons of a layer, in its
register before it is stored; any of its 8 bits. "alter" makes it any byte. Neurons at random, pictures of the test split in turn. Percent,
in brackets exact (Clopper–Pearson) 95 % intervals. masked: no byte changed; found: of those that changed any; cured: of those found,
computed again and the answer that of a run without the fault; missed: number of trials not found although a byte differs (several
neurons whose differences cancel); wrong: of all trials, an output of the network differed in a bit and nothing was said.

"""
CODE = """
An instruction of the activation's code is skipped, or a bit of a register flips (r0 to r31, status, stack pointer) before one: all executed
instructions alike, {trials:,} trials each. masked: the right answer, nothing found; ended: the program crashed, restarted or hung, which a
watchdog sees; found: by the check, of those that did not end and are not masked; cured: of those found; wrong: as above.

"""


def page(costs: Sequence[Cost], alarms: int, pictures: int, tallies: Sequence[Tally], layers: Sequence[int],
         published: Sequence[Published]) -> str:
    """The whole text."""
    by = {(c.net, c.checks): c for c in costs}
    extra = {n: by[n, "maed"].cycles - by[n, "off"].cycles for n, c in by if c == "off"}
    macs, neurons = 5872, sum(layers)
    facts: dict[str, float] = {}
    for key, net in (("8", "int8"), ("32", "float32")):
        facts |= {f"mac{key}": by[net, "off"].cycles / macs, f"fan{key}": 100 * extra[net] / neurons / (by[net, "off"].cycles / macs),
                  {"8": "int8", "32": "float32"}[key]: extra[net] / neurons}
    terms, code = [t for t in tallies if t.terms], [t for t in tallies if not t.terms]
    text = HEAD.format(compiler="avr-gcc -O3") + _costs(costs, extra)
    text += FORMS.format(alarms=alarms, pictures=pictures, rate=Rate(alarms, pictures).text(True), **facts,
                         published=paper(published, facts["mac32"]))
    return text + TERMS.format(trials=terms[0].trials) + _terms(terms) + CODE.format(trials=code[0].trials) + _code(code)


def paper(published: Sequence[Published], product: float, products: int = 64) -> str:
    """The table of the published forms; product: cycles of one multiply-accumulate in float32."""
    lines = [[p.form, f"{p.off:,.0f}", f"{p.on:,.0f}", f"+{100 * (p.on / p.off - 1):.1f} %", p.alarms.text(True),
              f"+{100 * (p.on - p.off) / (p.off + products * product):.1f} %"] for p in published]
    return table(["sums", "cycles", "with the check", "extra", "false alarms, %", "of a neuron"], lines)


def _costs(costs: Sequence[Cost], extra: dict[str, float]) -> str:
    lines = []
    for c in costs:
        share = f"+{100 * extra[c.net] / (c.cycles - extra[c.net]):.2f} %" if c.checks != "off" else ""
        agreed = f"{c.equal:,} of {c.pictures:,}" if c.net != "float32" else f"{c.off:.0e}"
        lines.append([c.net, c.checks, f"{c.cycles:,.0f}", share, f"{c.flash:,}", f"{c.ram:,}", str(c.stack), agreed,
                      f"{100 * c.accuracy:.2f} %"])
    return table(["form", "checks", "cycles", "extra", "flash", "RAM", "stack", "equal", "right"], lines)


def _terms(tallies: Sequence[Tally]) -> str:
    lines = []
    for t in [*tallies, total(tallies)]:
        lines.append([t.name, str(t.terms or ""), str(t.bits) if t.bits else "all" if t.terms else "", Rate(t.masked, t.trials).text(),
                      Rate(t.found, t.trials - t.masked).text(True), Rate(t.cured, t.found).text(), str(t.missed),
                      Rate(t.wrong, t.trials).text(True)])
    return table(["fault", "neurons", "bits", "masked", "found", "cured", "missed", "wrong"], lines)


def total(tallies: Sequence[Tally]) -> Tally:
    """All trials together."""
    whole = Tally("all")
    for t in tallies:
        for name in ("trials", "masked", "found", "ended", "cured", "missed", "wrong"):
            setattr(whole, name, getattr(whole, name) + getattr(t, name))
    return whole


def _code(tallies: Sequence[Tally]) -> str:
    lines = []
    for t in tallies:
        found = t.found - t.ended
        lines.append([t.name, Rate(t.masked, t.trials).text(), Rate(t.ended, t.trials).text(),
                      Rate(found, t.trials - t.masked - t.ended).text(True), Rate(t.cured, found).text(),
                      Rate(t.wrong, t.trials).text(True)])
    return table(["fault", "masked", "ended", "found", "cured", "wrong"], lines)
