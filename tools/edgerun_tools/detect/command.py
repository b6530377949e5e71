"""Tell manipulated features from noisy ones, at the tail of a split model.

Examples:

  edgerun split model.onnx --at TENSOR --out parts/

  edgerun detect train parts/ --data photos/ -o parts/detector.onnx

  edgerun detect eval parts/detector.onnx parts/ --data test.npz
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from edgerun.detect import Detector
from edgerun.errors import DataError, ModelFormatError, OptionError
from edgerun_tools import common
from edgerun_tools.common import answers, errors

LEAST = 200
"""Inputs that training, and the thresholds, need at least."""
Folder = Annotated[Path, typer.Argument(metavar="SPLIT", help="A folder that `edgerun split` wrote.", show_default=False)]
Data = Annotated[str, typer.Option("--data", "-d", metavar="SET", show_default=False, help="Images or tensors that the head takes.")]
PartOf = Annotated[str, typer.Option("--part", metavar="all|train|calibration|test", help=(
    "A fixed split of the MNIST or CIFAR-10 sets this project uses."))]


def train_command(
    split: Folder,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.onnx", show_default=False, help="Write the detector here.")],
    part: PartOf = "all",
    limit: Annotated[int | None, typer.Option("--inputs", metavar="N", min=1, show_default="all", help="How many of them.")] = None,
    variant: Annotated[str, typer.Option("--variant", metavar="compact|paper", help=(
        "Sizes of the autoencoder: of channels' statistics, microseconds; or of every element, as published."))] = "compact",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the features.")] = 6,
    seed: common.Seed = 2026,
    as_json: common.AsJson = False,
) -> None:
    """Train a detector on what the head sends for benign inputs; no attack is needed, and none is shown.

    Three quarters of the inputs train, the others set the thresholds for false-positive rates of 1, 2, 5 and 10 %, both under environmental
    noise. The file is ONNX; edgerun runs it without PyTorch. JSON schema: "edgerun.detect.train/1".

    Examples:

      edgerun detect train parts/ --data photos/ -o parts/detector.onnx

      edgerun detect train parts/ --data cifar10_train.tar.gz --part train --inputs 8000 -o parts/detector.onnx
    """
    train, export, settings_of, sizes = _library()
    if variant not in sizes:
        raise OptionError(f"--variant: expected one of {', '.join(sizes)}; found {variant!r}")
    from edgerun_tools.detect.parts import Split

    found = Split.read(split)
    with _bars(not as_json) as tick:
        features = found.features(data, part, limit, lambda done, of: tick("features", done, of))
        held = len(features) // 4
        if held < LEAST:
            raise DataError(f"--data {data}: expected at least {4 * LEAST} inputs; found {len(features)}")
        trained = train(features.part(slice(held, None)), features.part(slice(0, held)), found.tail(),
                        settings_of(variant=variant, epochs=epochs, seed=seed), tick)
    manifest = found.manifest
    about = trained.about(found.tensor, found.exits[-1] if found.exits else "", Path(data).name, held, manifest.head.sha256,
                          manifest.tail.sha256)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(export(trained.net, about))
    except OSError as e:
        raise OptionError(f"--out {out}: expected a file that can be written; found: {e}") from e
    if as_json:
        return common.print_json({"schema": "edgerun.detect.train/1", "file": str(out), "bytes": out.stat().st_size, "tensor": about.tensor,
                                  "variant": variant, "inputs": {"train": len(features) - held, "thresholds": held},
                                  "thresholds": about.thresholds})
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title="thresholds", title_justify="left")
    table.add_column("compares")
    rates = [f"{r:g}" for r in about.rates]
    for rate in rates:
        table.add_column(f"{100 * float(rate):g} % false", justify="right")
    for mode, lines in about.thresholds.items():
        table.add_row(_WORDS[mode], *(f"{lines[r]:.3f}" for r in rates))
    answers.print(table)
    answers.print(f"{escape(str(out))}: {out.stat().st_size:,} bytes, for {escape(about.tensor)}; {len(features) - held:,} inputs trained "
                  f"it, {held:,} set the thresholds", soft_wrap=True)


def eval_command(
    detector: Annotated[str, typer.Argument(metavar="DETECTOR", help="What `edgerun detect train` wrote.", show_default=False)],
    split: Folder,
    data: Data,
    part: PartOf = "all",
    limit: Annotated[int, typer.Option("--inputs", metavar="N", min=100, help="How many of them.")] = 1500,
    attacked: Annotated[int, typer.Option("--attacked", metavar="N", min=20, help="How many of them are attacked.")] = 200,
    attacks: Annotated[str, typer.Option("--attacks", metavar="A,B,…", help="Which attacks.")] = "inject,fgsm,pgd,random,impulse",
    strengths: Annotated[str, typer.Option("--noise", metavar="A,B,…", help="Strengths of the noise.")] = "none,low,mid,high",
    rate: Annotated[float, typer.Option("--rate", metavar="SHARE", help="Nominal false-positive rate of the thresholds.")] = 0.05,
    as_json: common.AsJson = False,
) -> None:
    """Attack a split model's features, and see what the detector finds: AUROC, true positives, false alarms under noise it has not met.

    JSON schema: "edgerun.detect.eval/1".

    Examples:

      edgerun detect eval parts/detector.onnx parts/ --data test.npz

      edgerun detect eval parts/detector.onnx parts/ --data test.npz --attacks pgd,cw,vae --noise none,high --json
    """
    _library()
    from edgerun_tools.detect import evaluate, gradient, noise
    from edgerun_tools.detect.attacks import ATTACKS
    from edgerun_tools.detect.parts import Split

    names = _chosen("--attacks", attacks, [a for a in ATTACKS if a != "adaptive"])
    levels = _chosen("--noise", strengths, noise.STRENGTHS)
    found = Split.read(split)
    with Detector(detector, rate=rate) as loaded, _bars(not as_json) as tick:
        if loaded.about.tail and not loaded.belongs_to(found.manifest.tail.sha256):
            raise ModelFormatError(f"{detector}: expected a detector for {found.manifest.tail.file} of {split}; found one for another; "
                                   "train it anew")
        test = found.features(data, part, limit, lambda done, of: tick("features", done, of))
        benign = 2 * len(test) // 3
        if len(test) - benign < 50:
            raise DataError(f"--data {data}: expected at least 150 inputs, a third of which the attacker intercepts; found {len(test)}")
        reference, tail = noise.Reference.of(test.x), found.tail()
        bench = evaluate.Bench(tail, test, reference, benign, min(attacked, benign))
        if {"fgsm", "pgd"} & set(names):
            bench = evaluate.Bench(tail, test, reference, benign, min(attacked, benign), gradient.least_budget(bench.context))
        scorers = evaluate.of_file(loaded)
        made = {n: bench.make(n) for n in names}
        done = iter(range(1, 1 + len(names) * len(levels)))
        rows = bench.rows(names, scorers, made.__getitem__, levels,
                          tick=lambda what: tick("attacks", next(done), len(names) * len(levels)))
        alarms = bench.false_alarms(scorers, {m: loaded.threshold(m) for m in scorers})
    if as_json:
        return common.print_json({"schema": "edgerun.detect.eval/1", "detector": detector, "rate": rate, "budget": bench.budget,
                                  "rows": [r.to_dict() for r in rows], "false_alarms": alarms})
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("attack", "noise", "compares", "reached its goal", "AUROC", "found at 5 % false", "AUROC of those that did"):
        table.add_column(column, justify="left" if column in ("attack", "noise", "compares") else "right")
    for r in rows:
        table.add_row(r.attack, r.strength, _WORDS[r.detector], f"{100 * r.turned:.0f} %", str(r.auroc), f"{100 * r.tpr.value:.0f} %",
                      "" if r.auroc_turned is None else str(r.auroc_turned))
    answers.print(table)
    for mode in scorers:
        here = [a for a in alarms if a["mode"] == mode]
        worst = max(here, key=lambda a: a["hits"] / a["of"])
        answers.print(f"false alarms, {_WORDS[mode]}: {100 * sum(a['hits'] for a in here) / sum(a['of'] for a in here):.1f} % "
                      f"(nominal {100 * rate:g} %); most under {worst['kind']}, {worst['strength']}: "
                      f"{100 * worst['hits'] / worst['of']:.1f} %", soft_wrap=True)


_WORDS = {"features": "features only", "exit": "with the exit's answer", "tail": "with the tail's answer", "both": "with both answers"}


def _chosen(option: str, text: str, known: Any) -> list[str]:
    names = [n.strip() for n in text.split(",") if n.strip()]
    if not names or not set(names) <= set(known):
        raise OptionError(f"{option}: expected some of {', '.join(known)}; found {text!r}")
    return names


def _library() -> Any:
    """(train, export, Settings, SIZES). OptionError naming the extra where PyTorch or scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
        import torch  # noqa: F401
    except ImportError as e:
        raise OptionError(f"edgerun detect: expected PyTorch and scikit-learn; found {e}; pip install 'edgerun[detect]'") from e
    from edgerun_tools.detect import network, train, vae

    return train.train, network.export, train.Settings, vae.SIZES


@contextmanager
def _bars(show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a stage on stderr; gives tick(stage, done, of)."""
    with Progress(console=errors, disable=not show or not errors.is_terminal, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def tick(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=of)
            progress.update(tasks[stage], completed=done)
        yield tick


group = {"train": train_command, "eval": eval_command}
