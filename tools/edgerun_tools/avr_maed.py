"""MAED on its own platform: `python -m edgerun_tools.avr_maed` makes docs/avr.md.

The zoo's digits perceptron runs in simavr on an ATmega328P in three forms: answers against the engine's, cycles with and without checks,
flash, RAM and stack; false alarms of the int8 form on clean pictures; and the paper's fault models in its activations. Needs avr-gcc and
libsimavr, scikit-learn for the pictures, ONNX Runtime for the quantisation and SciPy for the intervals.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerun.errors import EdgeRunError
from edgerun_tools import avr_faults, avr_nets, avr_page, avr_paper, data
from edgerun_tools.avr_faults import Tally
from edgerun_tools.avr_nets import Net
from edgerun_tools.boards.results import Results

LAYERS = (64, 24)
"""Neurons of the sigmoid's and the tanh's layer."""
COUNTED = 100
"""Pictures over which cycles of the float32 form are counted, which are slow here."""


@dataclass(frozen=True)
class Cost:
    """One form of the net. cycles: mean of a run; equal: answers with the engine's bits, of so many; off: largest difference otherwise,
    relative to the largest answer."""

    net: str
    checks: str
    cycles: float
    flash: int
    ram: int
    stack: int
    pictures: int
    equal: int
    off: float
    accuracy: float


def cost(net: Net, checks: str, images: np.ndarray, labels: np.ndarray, folder: Path) -> tuple[Cost, Results]:
    """Runs one form with or without checks."""
    firmware = net.generate(folder, checks)
    seen = avr_nets.run(net, firmware, images, folder / f"{net.path.stem}_{checks}_work")
    found, truth = seen.outputs(), net.truth(images)
    same = [np.array_equal(a, b) for a, b in zip(found, truth, strict=True)]
    off = float(np.abs(found.astype(np.float64) - truth).max() / np.abs(truth).max())
    right = found.reshape(len(images), -1).argmax(axis=1) == labels
    cycles = float(np.mean([s.count for s in seen.samples]))
    return Cost(net.name, checks, cycles, seen.image.firmware.flash, seen.image.firmware.ram, max(s.stack for s in seen.samples),
                len(images), sum(same), off, float(right.mean())), seen


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run; returns the process's exit code."""
    p = argparse.ArgumentParser(prog="python -m edgerun_tools.avr_maed", description=__doc__)
    p.add_argument("--out", type=Path, help="write the page here; default: print it")
    p.add_argument("--zoo", type=Path, default=Path("models/zoo"), help="default %(default)s")
    p.add_argument("--trials", type=int, default=1000, help="of every case; default %(default)s")
    p.add_argument("--pictures", type=int, default=10_000, help="clean ones, for false alarms; default %(default)s")
    p.add_argument("--work", type=Path, help="keep models, C and images here; default: a temporary folder")
    a = p.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = a.work or Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            page = measure(a.zoo, folder, a.trials, a.pictures)
    except EdgeRunError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    if a.out:
        a.out.write_text(page, encoding="utf-8")
    else:
        print(page, end="")
    return 0


def measure(zoo: Path, folder: Path, trials: int, pictures: int) -> str:
    """The page."""
    images, labels, _ = data.digits()
    forms = avr_nets.nets(zoo, folder)
    costs = []
    for net in forms:
        some = slice(None) if net.pixels else slice(COUNTED)
        costs += [cost(net, checks, images[some], labels[some], folder)[0] for checks in ("off", "maed")]
        _say(f"{net.name}: {costs[-2].cycles:.0f} cycles, {costs[-1].cycles:.0f} with checks")
    net = forms[0]
    firmware, work = folder / f"{net.path.stem}_maed", folder / "faults_work"
    clean = avr_nets.run(net, firmware, avr_nets.moved(pictures), work)
    alarms = sum(s.report["faults"] > 0 or s.status != 0 for s in clean.samples)
    _say(f"{alarms} false alarms in {len(clean.samples)}")
    return avr_page.page(costs, alarms, len(clean.samples), faults(net, firmware, images, trials, work), LAYERS,
                         avr_paper.measure(folder))


def faults(net: Net, firmware: Path, images: np.ndarray, trials: int, work: Path, seed: int = 2026) -> list[Tally]:
    """All campaigns, on pictures of the test split in turn."""
    chosen = data.digits("test")[0] if len(images) > trials else images
    clean = avr_nets.run(net, firmware, chosen, work)
    layers = avr_faults.layers_of(clean.image, LAYERS)
    found = []
    for k, (model, struck, bits) in enumerate(avr_faults.every_case()):
        made = avr_faults.term_trials(layers, model, bits, struck, trials, np.random.default_rng([seed, k]))
        found.append(avr_faults.campaign(net, firmware, clean, chosen, made, work, Tally(model, struck, bits)))
        _say(f"{model}, {bits} bits of {struck}: {found[-1].found} found, {found[-1].masked} masked of {found[-1].trials}")
    for name, skip in (("instruction skipped", True), ("bit of a register flipped", False)):
        made = avr_faults.code_trials(layers, skip, trials, np.random.default_rng([seed, int(skip), 99]))
        found.append(avr_faults.campaign(net, firmware, clean, chosen, made, work, Tally(name)))
        _say(f"{name}: {found[-1]}")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
