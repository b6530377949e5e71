"""What the published form of MAED's sigmoid costs on an ATmega328P: cycles with and without its check, and its false alarms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from edgerun_tools import boards
from edgerun_tools.rates import Rate

OPERANDS, RANGE = 1000, 3.0
"""Operands, uniform in ± this, as in the paper."""
FORMS = {"as published": 0, "even and odd terms summed apart": 1}


@dataclass(frozen=True)
class Published:
    """One form: mean cycles of an evaluation without and with the check, and how many clean ones it called wrong."""

    form: str
    off: float
    on: float
    alarms: Rate


def measure(folder: Path, seed: int = 1) -> list[Published]:
    """Runs both forms in simavr."""
    x = np.random.default_rng(seed).uniform(-RANGE, RANGE, (OPERANDS, 1)).astype(np.float32)
    found = []
    for name, split in FORMS.items():
        runs = [boards.run(_firmware(folder / f"paper{split}{check}", split, check), "atmega328p", x) for check in (0, 1)]
        off, on = (float(np.mean([s.count for s in r.samples])) for r in runs)
        found.append(Published(name, off, on, Rate(sum(s.status != 0 for s in runs[1].samples), OPERANDS)))
    return found


def _firmware(folder: Path, split: int, check: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f.c").write_text((files("edgerun_tools") / "avr_paper.c").read_text(encoding="utf-8"))
    tensors = {n: [{"name": n[0], "dtype": "float32", "shape": [1]}] for n in ("inputs", "outputs")}
    (folder / "firmware.json").write_text(json.dumps({
        "schema": "edgerun.firmware/1", "prefix": "f", "target": "any", "sources": ["f.c"], "header": None, "report": None,
        "selftest": None, "run": {"symbol": "f_run", "returns": "int"}, "defines": [f"SPLIT={split}", f"CHECK={check}"], **tensors}))
    return folder
