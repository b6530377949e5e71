"""What the checks cost in generated C: instructions of one inference, bytes of flash and RAM, by preset.

`python -m edgerun_tools.firmware_cost` generates the MLPerf Tiny models of the data folder under every preset, builds them for a board
(`--board mps2-an386`), runs the self-test's input there, and prints a table in Markdown (`--json`: a line a model).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from edgerun import Session
from edgerun.errors import DataError
from edgerun.options import PRESETS
from edgerun_tools import boards
from edgerun_tools.codegen import golden
from edgerun_tools.codegen.command import codegen
from edgerun_tools.codegen.targets import TARGETS

SCHEMA = "edgerun.firmware-cost/1"
NETS = ("ad01", "dscnn_kws", "resnet8_cifar10", "strww", "vww96")
MODELS = tuple(f"mlperf_{net}_{kind}" for kind in ("fp32", "int8qdq") for net in NETS)
TIMEOUT = 600.0


def measure(model: Path, board: str, presets: Sequence[str]) -> dict[str, Any]:
    """By preset: instructions, bytes of flash and RAM of the firmware alone. DataError where a run has a finding."""
    core = next(t.name for t in TARGETS.values() if t.board == board)
    with Session(model, checks="off", threads=1) as session:
        feeds = golden.feeds(session.plan)
    found = {}
    for preset in presets:
        with tempfile.TemporaryDirectory() as folder:
            codegen(str(model), folder, target_name=core, prefix="net", checks=preset)
            results = boards.run(folder, board, [a[None] for a in feeds], timeout=TIMEOUT)
        if not results.ok or results.selftest or any(s.status or s.report["faults"] for s in results.samples):
            raise DataError(f"{model.name}, {preset}: expected a run without a finding; found {results.end}, self-test {results.selftest}, "
                            f"{[s.report for s in results.samples]}")
        size = results.image.firmware
        found[preset] = {"instructions": results.samples[0].count, "flash": size.flash, "ram": size.ram}
    return {"schema": SCHEMA, "model": model.stem, "board": board, "presets": found}


def row(report: dict[str, Any]) -> str:
    """A line of the table."""
    off = report["presets"]["off"]
    cells = [f"{off['instructions'] / 1e6:.2f} M", f"{off['flash'] / 1024:.0f}"]
    for preset, p in report["presets"].items():
        if preset != "off":
            cells += [f"{p['instructions'] / off['instructions'] - 1:+.1%}", f"{p['flash'] / off['flash'] - 1:+.0%}"]
    return f"| {report['model']} | " + " | ".join(c.replace("%", " %") for c in cells) + " |"


def main(argv: list[str] | None = None) -> int:
    """Command line; 1 where no model is there."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.firmware_cost", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGERUN_DATA", "../shared/data")))
    parser.add_argument("--board", default="mps2-an386")
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(argv)
    paths = [p for name in MODELS if o.only in name and (p := o.data / "models" / f"{name}.onnx").is_file()]
    others = [p for p in PRESETS if p != "off"]
    if not o.json:
        print("| model | off | flash, KiB |" + "".join(f" {p} | flash |" for p in others))
        print("|---" * (3 + 2 * len(others)) + "|")
    for k, path in enumerate(paths):
        Console(stderr=True).print(f"{path.stem} ({k + 1} of {len(paths)})", markup=False)
        report = measure(path, o.board, list(PRESETS))
        print(json.dumps(report) if o.json else row(report), flush=True)
    return 0 if paths else 1


if __name__ == "__main__":
    sys.exit(main())
