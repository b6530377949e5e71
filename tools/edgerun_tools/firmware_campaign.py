"""Faults in generated C on an emulated board: what becomes of flipped bits of RAM, flash, registers and the program counter.

`python -m edgerun_tools.firmware_campaign model.onnx --data x.npz -o out --trials 1000` generates C under every preset of `--checks`,
builds each once, and runs it under QEMU, a fault a trial, at a seeded place and moment. Results go to out/<preset>.jsonl line by line, so
that an interrupted campaign goes on where it was; the table has exact intervals (Clopper and Pearson).

Sites, taking turns: `arena` (a bit of any byte of the arena, at any instruction), `weights` (a bit of any byte of the model's constants in
flash, from before a run on; it stays for `LATER` further runs on other inputs), `register` (a bit of r0 to r12 or lr, at any
instruction), `jump` (a bit of the program counter's lower 12, at any instruction). Every trial ends in one class:

    masked        outputs equal to those without a fault, no alarm
    corrected     an alarm, status OK, outputs equal
    detected      an alarm and a negative status (in a run after the first: with the first answer right)
    late          an alarm, but only after a wrong answer was given without one
    sdc_tolerable outputs differ, the class does not; status OK
    sdc_critical  the class differs; status OK
    due           an exception of the core, or no end within ten times the instructions: a watchdog's business
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from edgerun import Session
from edgerun.errors import DataError, OptionError
from edgerun.planner.plan import DTYPES
from edgerun_tools import boards, exit_runs
from edgerun_tools.boards import inject
from edgerun_tools.boards.build import Image, tool
from edgerun_tools.boards.results import Results, Sample
from edgerun_tools.codegen.command import codegen
from edgerun_tools.codegen.targets import TARGETS
from edgerun_tools.faults import stats

SCHEMA = "edgerun.firmware-campaign/1"
SITES = ("arena", "weights", "register", "jump")
CLASSES = ("masked", "corrected", "detected", "late", "sdc_tolerable", "sdc_critical", "due")
LATER = 4
"""Runs after the first in which a flipped bit of flash is watched."""
BATCH = 40
"""Trials of an emulator's life."""
LIMIT = 10
"""Times the instructions of a run without faults."""
REGISTERS = (*(f"r{k}" for k in range(13)), "lr")
JUMP_BITS = range(1, 12)
TIMEOUT = 300.0
"""Seconds of the runs without faults."""
PATIENCE = 10.0
"""An emulator that takes so many times as long as without faults, and a few seconds, hangs where the limit does not end it."""


@dataclass(frozen=True)
class Subject:
    """Generated C under one preset, built. clean: outputs of every input, in bytes; counts: instructions of every input."""

    preset: str
    folder: Path
    work: Path
    image: Image
    inputs: np.ndarray
    clean: list[bytes]
    counts: list[int]
    classes: list[int]
    arena: int
    constants: list[tuple[str, int]]
    seconds: float
    """Of a run without faults."""


def subject(model: str, preset: str, board: str, inputs: np.ndarray, out: Path) -> Subject:
    """Generate, build, and run all inputs without a fault. DataError where that gives an alarm, or another answer the second time."""
    core = next(t.name for t in TARGETS.values() if t.board == board)
    folder = out / preset.replace(",", "-")
    said = codegen(model, str(folder), target_name=core, prefix="net", checks=preset)
    work = folder / "work"
    first = boards.run(folder, board, inputs, keep=work, timeout=TIMEOUT)
    began = time.monotonic()
    again = boards.run(folder, board, inputs, keep=work, image=first.image, timeout=TIMEOUT)
    seconds = (time.monotonic() - began) / len(inputs)
    if not first.ok or first.selftest != 0 or any(_alarm(s) for s in first.samples):
        raise DataError(f"{preset}: expected {len(inputs)} runs without a finding; found {first.end}, self-test {first.selftest}, "
                        f"{sum(_alarm(s) for s in first.samples)} alarms")
    clean = [_bytes(s) for s in first.samples]
    if [_bytes(s) for s in again.samples] != clean:
        raise DataError(f"{preset}: expected the same answers twice; found others")
    return Subject(preset, folder, work, first.image, inputs, clean, [int(s.count) for s in first.samples],
                   [_top(s) for s in first.samples], said["arena"], constants(first.image), seconds)


def constants(image: Image) -> list[tuple[str, int]]:
    """Name and bytes of the model's constants in the image, checksums of checks not among them."""
    nm = tool(Path(image.tool).name + "nm")
    printed = subprocess.run([nm, "-S", str(image.path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in printed.splitlines()]
    own = ("_sums", "_sizes", "_rows", "_columns", "_audit")
    return sorted((r[3], int(r[1], 16)) for r in rows if len(r) == 4 and r[3].startswith("step") and not r[3].endswith(own))


# -- faults -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """Fault number `index`: on input `sample` of the subject's, `at` instructions after it began."""

    index: int
    site: str
    sample: int
    at: int
    place: str
    mask: int


def trial(s: Subject, index: int, seed: int) -> Trial:
    """The same for a number and a seed, whatever was drawn before."""
    draw = random.Random(f"{seed}/{index}")
    site, sample, moment = SITES[index % len(SITES)], draw.randrange(len(s.inputs)), draw.random()
    at = max(1, int(moment * s.counts[sample]))
    if site == "arena":
        return Trial(index, site, sample, at, f"arena+{draw.randrange(s.arena)}", 1 << draw.randrange(8))
    if site == "weights":
        offset = draw.randrange(sum(size for _, size in s.constants))
        for name, size in s.constants:
            if offset < size:
                return Trial(index, site, sample, 0, f"{name}+{offset}", 1 << draw.randrange(8))
            offset -= size
    if site == "jump":
        return Trial(index, site, sample, at, "register pc", 1 << draw.choice(JUMP_BITS))
    return Trial(index, site, sample, at, f"register {draw.choice(REGISTERS)}", 1 << draw.randrange(32))


def batches(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Flipped bits of flash stay, so each has an emulator of its own; of the others many share one. In order, so that an interrupted
    campaign has as much of every site."""
    others: list[Trial] = []
    for t in trials:
        if t.site == "weights":
            yield [t]
            continue
        others.append(t)
        if len(others) == BATCH:
            yield others
            others = []
    if others:
        yield others


def carry_out(s: Subject, board: str, trials: Sequence[Trial], done: Callable[[dict[str, Any]], None]) -> None:
    """Run all trials; `done` gets the row of each. A trial that ends the emulator ends its batch, and the rest gets another one."""
    for batch in batches(trials):
        left = list(batch)
        while left:
            results = _run(s, board, left)
            if left[0].site == "weights":
                done(_row(left[0], s, results.samples, results))
                break
            for t, sample in zip(left, results.samples, strict=False):
                done(_row(t, s, [sample], results))
            finished = len(results.samples)
            if finished < len(left):
                done(_row(left[finished], s, [], results))
                finished += 1
            left = left[finished:]


def _run(s: Subject, board: str, trials: Sequence[Trial]) -> Results:
    if trials[0].site == "weights":
        t = trials[0]
        order = [(t.sample + k) % len(s.inputs) for k in range(1 + LATER)]
        faults = [inject.Fault(0, 0, t.place, t.mask, stays=True)]
    else:
        order = [t.sample for t in trials]
        faults = [inject.Fault(k, t.at, t.place, t.mask) for k, t in enumerate(trials)]
    return boards.run(s.folder, board, s.inputs[order], image=s.image, keep=s.work, faults=faults,
                      timeout=5 + PATIENCE * s.seconds * len(order), limit=LIMIT * max(s.counts))


# -- what became of it ------------------------------------------------------------------------------------------------


def _bytes(sample: Sample) -> bytes:
    return b"".join(v.tobytes() for v in sample.outputs.values())


def _top(sample: Sample) -> int:
    scores = next(iter(sample.outputs.values())).reshape(-1).astype(np.float64)
    return int(np.argmax(scores)) if np.isfinite(scores).all() else -1


def _alarm(sample: Sample) -> bool:
    return sample.status != 0 or sample.report["faults"] != 0


def judge(s: Subject, first: int, samples: Sequence[Sample], ended: bool) -> str:
    """One of CLASSES. samples: of the run that was hit, and those after it, on the inputs from `first` on; ended: whether the emulator
    ended before all of them."""
    worst = "masked"
    for k, sample in enumerate(samples):
        at = (first + k) % len(s.inputs)
        equal = _bytes(sample) == s.clean[at]
        if _alarm(sample):
            if worst != "masked":
                return "late"
            if sample.status == 0 and not equal:
                return _harm(s, at, sample)
            return "corrected" if sample.status == 0 else "detected"
        if not equal and worst != "sdc_critical":
            worst = _harm(s, at, sample)
    return "due" if ended and worst == "masked" else worst


def _harm(s: Subject, at: int, sample: Sample) -> str:
    return "sdc_critical" if _top(sample) != s.classes[at] else "sdc_tolerable"


def _row(t: Trial, s: Subject, samples: Sequence[Sample], results: Results) -> dict[str, Any]:
    wanted = 1 + LATER if t.site == "weights" else 1
    found = judge(s, t.sample, samples, len(samples) < wanted)
    check = next((x.report["first_check"] for x in samples if _alarm(x)), 0)
    return {"index": t.index, "site": t.site, "sample": t.sample, "at": t.at, "place": t.place, "mask": t.mask, "class": found,
            "first_check": check, "end": results.end if len(samples) < wanted else "ok"}


# -- the campaign -----------------------------------------------------------------------------------------------------


def campaign(model: str, data: np.ndarray, out: Path, presets: Sequence[str], board: str, trials: int, seed: int,
             tick: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Carry out what is missing in `out`, and sum up."""
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for preset in presets:
        s = subject(model, preset, board, data, out)
        source = hashlib.sha256((s.folder / "net.c").read_bytes()).hexdigest()
        head = {"schema": SCHEMA, "model": Path(model).name, "preset": preset, "board": board, "seed": seed, "inputs": len(data),
                "compiler": s.image.compiler, "source": source}
        path = out / f"{preset.replace(',', '-')}.jsonl"
        rows = _known(path, head)
        left = [trial(s, k, seed) for k in range(trials) if k not in {r["index"] for r in rows}]
        with path.open("a", encoding="utf-8") as file:
            if path.stat().st_size == 0:
                file.write(json.dumps(head) + "\n")
            carry_out(s, board, left, partial(_keep, file, rows, preset, trials, tick))
        found[preset] = summary([r for r in rows if r["index"] < trials]) | {
            "instructions": float(np.mean(s.counts)), "arena": s.arena, "constants": sum(n for _, n in s.constants)}
    return {"schema": SCHEMA, "model": Path(model).name, "board": board, "seed": seed, "trials": trials, "presets": found}


def _keep(file: TextIO, rows: list[dict[str, Any]], preset: str, trials: int, tick: Callable[[str, int, int], None],
          row: dict[str, Any]) -> None:
    rows.append(row)
    file.write(json.dumps(row) + "\n")
    file.flush()
    tick(preset, len(rows), trials)


def _known(path: Path, head: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that are there; OptionError where they are of another campaign. A line that was cut off is left out."""
    if not path.exists() or not path.stat().st_size:
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    whole = lines[:-1]
    if not whole or json.loads(whole[0]) != head:
        raise OptionError(f"--out: expected {path} of this campaign, or none; found {lines[0][:200]}; choose another folder")
    if lines[-1]:
        path.write_text("\n".join(whole) + "\n", encoding="utf-8")
    return [json.loads(line) for line in whole[1:]]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts by site, and proportions with intervals: caught, of what was not masked; silent corruption, of all."""
    by_site = {}
    for site in ("all", *SITES):
        counted = Counter(r["class"] for r in rows if site in ("all", r["site"]))
        total, silent = counted.total(), counted["sdc_critical"] + counted["sdc_tolerable"] + counted["late"]
        caught = counted["corrected"] + counted["detected"]
        harmful = caught + silent
        by_site[site] = {"trials": total, **{c: counted[c] for c in CLASSES},
                         "coverage": stats.proportion(caught, harmful).to_dict(),
                         "critical_sdc": stats.proportion(counted["sdc_critical"] + counted["late"], total).to_dict(),
                         "sdc": stats.proportion(silent, total).to_dict()}
    checks = Counter(r["first_check"] for r in rows if r["first_check"])
    return {"sites": by_site, "first_check": {str(k): v for k, v in sorted(checks.items())}}


def table(report: dict[str, Any]) -> Table:
    """A row a preset and site."""
    found = Table("preset", "site", "trials", *CLASSES, "caught of those with an effect", "critical SDC",
                  title=f"{report['model']} on {report['board']}")
    for preset, p in report["presets"].items():
        for site, r in p["sites"].items():
            found.add_row(preset, site, str(r["trials"]), *(str(r[c]) for c in CLASSES), _words(r["coverage"]), _words(r["critical_sdc"]))
    return found


def _words(p: dict[str, Any]) -> str:
    return "–" if p["rate"] is None else f"{100 * p['rate']:.2f} % ({100 * p['low']:.2f} to {100 * p['high']:.2f})"


def inputs_of(path: str, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The first `count` inputs of an .npy or .npz that fit. DataError."""
    loaded = np.load(path, allow_pickle=False)
    for array in [loaded[k] for k in loaded.files] if hasattr(loaded, "files") else [loaded]:
        if array.dtype == dtype and len(array) >= count and int(np.prod(array.shape[1:])) == int(np.prod(shape)):
            return np.asarray(array[:count]).reshape(count, *shape)
    raise DataError(f"--data {path}: expected at least {count} inputs {list(shape)} of {dtype}; found none")


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.firmware_campaign", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help=".npy or .npz with inputs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--checks", default="off:full", help="presets or lists of kinds, joined by :")
    parser.add_argument("--board", default="mps2-an386")
    parser.add_argument("--trials", type=int, default=1000, help="of each preset")
    parser.add_argument("--inputs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(argv)
    with Session(o.model, checks="off") as session:
        slot = session.plan.slots[session.plan.inputs[0].slot]
    data = inputs_of(o.data, o.inputs, slot.shape, DTYPES[slot.dtype])
    with exit_runs.bars(not o.json) as tick:
        report = campaign(o.model, data, o.out, o.checks.split(":"), o.board, o.trials, o.seed, tick)
    if o.json:
        print(json.dumps(report))
    else:
        Console(width=200).print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
