"""MAED's fault models in an activation that runs on a simulated ATmega328P, and what came of each trial.

`terms`: the paper's eight models (maed_words.py) on what an evaluation gives, here the byte that was fetched from the table, in its
register before it is stored: of 1, 3 or 6 of a layer's neurons. A byte has 8 bits, all of which may be struck; "alter" is any byte.

`code`: one instruction of the activation's function is skipped, or one bit flips in a register (r0 to r31, status, stack pointer) before
one of its instructions; all executed instructions alike.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_, xor
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import OptionError
from edgerun_tools.avr_nets import BOARD, Net
from edgerun_tools.boards import inject, results, runner
from edgerun_tools.boards.build import Image
from edgerun_tools.maed_words import cases

Array = np.ndarray[Any, Any]
STRUCK = (1, 3, 6)
FUNCTION = "er_lut_mirror"
REGISTERS = [*(f"r{k}" for k in range(32)), "sreg", "spl", "sph"]
LIMIT = 4
"""A call that takes so many times the cycles of a clean one hangs."""
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(?:[0-9a-f]{2} )+\s*(\S+)\s*(.*)$")


@dataclass(frozen=True)
class Layer:
    """One activation as it was linked: how many neurons (even), its function's instructions, those that run for every pair of neurons, the
    two stores of a pair with the register that holds the byte, and how many pairs and calls of the same function come before."""

    neurons: int
    instructions: list[int]
    loop: frozenset[int]
    stores: list[tuple[int, str]]
    pairs_before: int
    calls_before: int


def layers_of(image: Image, neurons: Sequence[int]) -> list[Layer]:
    """From the disassembly, in the order of the calls. OptionError where the function is not what lut_mirror.c compiles to."""
    said = subprocess.run([f"{image.tool}objdump", "-d", str(image.path)], capture_output=True, text=True, check=True).stdout
    bodies = dict(re.findall(r"<([\w.]+)>:\n(.*?)(?:\n\n|\Z)", said, re.DOTALL))
    called = re.findall(rf"<({FUNCTION}[\w.]*)>", bodies.get("infer", ""))
    if len(called) != len(neurons):
        raise OptionError(f"{image.path}: expected {len(neurons)} calls of {FUNCTION}; found {len(called)}")
    found: list[Layer] = []
    for k, name in enumerate(called):
        lines = [(int(m[1], 16), m[2], m[3]) for m in map(_LINE.match, bodies[name].splitlines()) if m]
        stores = [(at, words.split(",")[1].strip()) for at, what, words in lines if what == "st" and words.startswith("Y+")]
        if len(stores) != 2:
            raise OptionError(f"{image.path}: expected {name} with two stores in its loop; found {len(stores)}")
        first = next(at for at, what, words in lines if what == "ld" and words.startswith("r30, X+"))
        last = next(at for at, what, _ in lines if what == "brne" and at > stores[1][0])
        before = [n for n, other in zip(neurons, called[:k], strict=False) if other == name]
        places = [at for at, _, _ in lines]
        loop = frozenset(at for at in places if first <= at <= last)
        found.append(Layer(neurons[k], places, loop, stores, sum(before) // 2, len(before)))
    return found


@dataclass
class Tally:
    """Trials of one kind. masked: nothing was found, and no byte differed (terms) or the answer is right (code); found: by the check, or
    the run ended or hung, which a watchdog sees (`ended`); cured: found by the check, and the answer is right; missed: the rest; wrong: of
    these, those with another answer."""

    name: str
    terms: int = 0
    bits: int = 0
    trials: int = 0
    masked: int = 0
    found: int = 0
    ended: int = 0
    cured: int = 0
    missed: int = 0
    wrong: int = 0
    places: Counter[str] = field(default_factory=Counter)


Trial = list[inject.Fault]


def term_trials(layers: Sequence[Layer], model: str, bits: int, struck: int, count: int, rng: np.random.Generator) -> list[Trial]:
    """`struck` neurons of one layer in each trial; a layer as often as it has neurons."""
    sizes = np.array([layer.neurons for layer in layers])
    made = []
    for _ in range(count):
        layer = layers[int(rng.choice(len(layers), p=sizes / sizes.sum()))]
        neurons = rng.choice(layer.neurons, struck, replace=False)
        made.append([f for n in neurons for f in _on_byte(layer, int(n), model, bits, rng)])
    return made


def _on_byte(layer: Layer, neuron: int, model: str, bits: int, rng: np.random.Generator) -> Iterator[inject.Fault]:
    """One fault in the byte of one neuron. Several bits of a byte are drawn with replacement, as in the paper, so that flips may cancel."""
    at, register = layer.stores[neuron % 2]
    how = "set" if model.endswith("stuck-at-1") else "flip" if model.endswith("flip") else "clear"
    if model == "alter":
        masks = [(255, "clear"), (int(rng.integers(0, 256)), "set")]
    elif model == "skip":
        masks = [(255, "clear")]
    elif model.startswith("burst"):
        masks = [(((1 << bits) - 1) << int(rng.integers(0, 9 - bits)), how)]
    else:
        drawn = [1 << int(b) for b in rng.integers(0, 8, bits)]
        masks = [(reduce(xor if how == "flip" else or_, drawn), how)]
    for mask, kind in masks:
        if mask:
            yield inject.Fault(0, f"{at}#{layer.pairs_before + neuron // 2 + 1}", f"register {register}", mask, how=kind)


def code_trials(layers: Sequence[Layer], skip: bool, count: int, rng: np.random.Generator) -> list[Trial]:
    """Every executed instruction is as likely as any other."""
    executed = []
    for layer in layers:
        for at in layer.instructions:
            first, times = (layer.pairs_before, layer.neurons // 2) if at in layer.loop else (layer.calls_before, 1)
            executed += [(at, first + n + 1) for n in range(times)]
    made = []
    for k in rng.integers(0, len(executed), count):
        at, n = executed[k]
        place = inject.SKIP if skip else f"register {rng.choice(REGISTERS)}"
        made.append([inject.Fault(0, f"{at}#{n}", place, 1 << int(rng.integers(0, 8)))])
    return made


def campaign(net: Net, firmware: Path, clean: results.Results, images: Array, trials: Sequence[Trial], work: Path,
             tally: Tally) -> Tally:
    """One run a trial, on one picture after the other; goes on behind a run that ended the program."""
    limit = int(LIMIT * max(s.count for s in clean.samples))
    feeds, truth = net.feeds(images), clean.outputs()
    done = 0
    while done < len(trials):
        which = np.arange(done, len(trials)) % len(images)
        faults = [inject.Fault(k, f.at, f.place, f.mask, f.stays, f.how) for k, one in enumerate(trials[done:]) for f in one]
        seen = runner.run(firmware, BOARD, feeds[which], limit=limit, faults=faults, image=clean.image, keep=work)
        bytes_: dict[tuple[int, int | str], tuple[int, int]] = {}  # before the first and after the last fault at a moment
        for hit in seen.hits:
            key = hit.fault.sample, hit.fault.at
            bytes_[key] = bytes_.get(key, (hit.before, 0))[0], hit.after
        changed = {sample for (sample, _), (before, after) in bytes_.items() if before != after}
        for k, sample in enumerate(seen.samples):
            right = all(np.array_equal(a, truth[which[k]]) for a in sample.outputs.values())
            _count(tally, k in changed, sample.report["faults"] > 0, right, sample.status == 0)
        done += len(seen.samples)
        if seen.end != "ok":
            tally.trials, tally.found, tally.ended = tally.trials + 1, tally.found + 1, tally.ended + 1
            tally.places[seen.end] += 1
            done += 1
    return tally


def _count(tally: Tally, changed: bool, found: bool, right: bool, said_ok: bool) -> None:
    tally.trials += 1
    if found:
        tally.found += 1
        tally.cured += right and said_ok
    elif not changed or (right and not tally.terms):
        tally.masked += 1
    else:
        tally.missed += 1
        tally.wrong += not right


def every_case() -> list[tuple[str, int, int]]:
    """(model, terms, bits) of the paper's table."""
    return [(model, struck, bits) for model, bits in cases() for struck in STRUCK]
