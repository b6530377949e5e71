"""``python -m edgerun_tools.zoo [NAME…]``: calibrate zoo models on their calibration split, evaluate them on their test split.

For each model: embeds the calibration into model.onnx, updates the manifest (size and digest), and writes early_exit.json
(the report of `edgerun eval`) and early_exit.png (fronts) beside it. Run it on a quiet machine: times are part of the result.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from edgerun.errors import DataError, EdgeRunError
from edgerun_tools import data, evaluate
from edgerun_tools.calibrate import calibrate, show


@dataclass(frozen=True)
class Splits:
    """Where a model's calibration and test images are (below the data folder, and part), and the loss it may take."""

    calibration: tuple[str, str]
    test: tuple[str, str]
    max_loss: float


# At most 1.0 points are to be lost on other images: that less two standard errors of a loss on 5,000 images (0.17 each).
_CIFAR = Splits(("sets/cifar10_train.tar.gz", "calibration"), ("sets/cifar10_test_5k.npz", "all"), 0.65)
ZOO = {"mnist_alexnet": Splits(("sets/mnist", "calibration"), ("sets/mnist", "test"), 0.3), "cifar10_alexnet": _CIFAR,
       "cifar10_resnet18": _CIFAR, "cifar10_vgg": _CIFAR, "cifar10_mobilenet": _CIFAR}


def refresh(manifest: Path, name: str, model: Path) -> None:
    """Write a model file's present size and digest into its manifest entry. DataError when there is no such entry."""
    blob = model.read_bytes()
    entries = manifest.read_text().split("[[model]]")
    for i, entry in enumerate(entries):
        if f'name = "{name}"' in entry:
            entry = re.sub(r"(?m)^bytes = .*$", f"bytes = {len(blob)}", entry)
            entries[i] = re.sub(r"(?m)^sha256 = .*$", f'sha256 = "{hashlib.sha256(blob).hexdigest()}"', entry)
            manifest.write_text("[[model]]".join(entries))
            return
    raise DataError(f"{manifest}: expected an entry named {name}, found none")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run; returns the process's exit code."""
    p = argparse.ArgumentParser(prog="python -m edgerun_tools.zoo", description=__doc__)
    p.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(ZOO)}")
    p.add_argument("--data", type=Path, default=data.data_root(), help="folder with sets/; default $EDGERUN_DATA, else %(default)s")
    p.add_argument("--zoo", type=Path, default=Path("models/zoo"), help="default %(default)s")
    p.add_argument("--threads", type=int, default=1, help="default %(default)s")
    p.add_argument("--eval-only", action="store_true", help="leave the calibration as it is")
    a = p.parse_args(argv)
    unknown = sorted(set(a.names) - set(ZOO))
    if unknown:
        p.error(f"expected names among {', '.join(ZOO)}, found {', '.join(unknown)}")
    try:
        for name in a.names or ZOO:
            _one(name, ZOO[name], a)
    except EdgeRunError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    return 0


def _one(name: str, splits: Splits, a: argparse.Namespace) -> None:
    model = a.zoo / name / "model.onnx"
    if not a.eval_only:
        set_, part = splits.calibration
        report = calibrate(str(model), str(a.data / set_), part=part, max_loss=splits.max_loss, threads=a.threads,
                           show_progress=True)
        show(report, str(model))
        refresh(a.zoo / "manifest.toml", name, model)
    set_, part = splits.test
    result = evaluate.evaluate(str(model), str(a.data / set_), part=part, threads=a.threads, show_progress=True,
                               plot=str(a.zoo / name / "early_exit.png"))
    evaluate.show(result)
    (a.zoo / name / "early_exit.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
