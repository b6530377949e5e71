"""What a finished training run leaves in the zoo: model.onnx, README.md, history.json, curve.png, manifest entry."""
from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from edgerun_tools.train import augment, card, export, loop, nets
from edgerun_tools.train.recipes import Recipe, Splits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def publish(recipe: Recipe, net: nets.ExitNet, splits: Splits, history: list[dict], zoo: Path) -> list[str]:
    """Export, verify against PyTorch with ONNX Runtime, measure accuracies and write the card; returns a summary."""
    folder = zoo / recipe.name
    cal = loop.accuracy(loop.predict(net, splits.calibration[0], _norm(recipe)), splits.calibration[1])
    last = history[-1]
    short = {"recipe": recipe.name, "seed": recipe.seed, "epochs": last["epoch"], "of": last["of"],
             "calibration_accuracy": cal, "date": time.strftime("%Y-%m-%d")}
    path = folder / "model.onnx"
    export.export(net, recipe, path, export.metadata(recipe, splits.classes, short))
    logits = export.run_onnx(path, splits.test[0], recipe)
    error = float(np.abs(logits - loop.predict(net, splits.test[0], _norm(recipe))).max())
    if error > 2e-3:
        raise ValueError(f"{path}: expected ONNX Runtime to agree with PyTorch within 2e-3, found {error:.2e}")
    facts = {"calibration": cal, "test": loop.accuracy(logits, splits.test[1]), "macs": nets.macs(net, recipe.shape),
             "error": error, "operators": sorted({n.op_type for n in onnx.load(path).graph.node} - {"Identity"}),
             "sizes": {k: len(getattr(splits, k)[1]) for k in ("train", "calibration", "test")},
             "bytes": path.stat().st_size, "history": history}
    (folder / "history.json").write_text(json.dumps(history, indent=1) + "\n")
    card.curve(recipe, history, folder / "curve.png")
    notes = _on_samples(recipe, path, splits.classes, zoo.parent / "samples")
    (folder / "README.md").write_text(card.text(recipe, facts, notes))
    _manifest(zoo, recipe, path, facts)
    return [f"{path}: {facts['bytes'] / 1e6:.2f} MB, ONNX Runtime against PyTorch max abs {error:.1e}",
            f"calibration % {facts['calibration']}", f"test % {facts['test']}", f"MACs alone {facts['macs']['alone']}"]


def _norm(recipe: Recipe) -> augment.Normalise:
    return augment.Normalise(recipe.mean, recipe.std)


def _on_samples(recipe: Recipe, path: Path, classes: list[str], folder: Path) -> str:
    """One sentence on what every exit answers for the sample images of the recipe's colour ('' without samples that fit)."""
    said = []
    if min(recipe.shape[1:]) < 28:
        return ""  # the samples have 28 pixels and more
    for file in sorted(folder.glob("digit_*.png" if recipe.color == "L" else "cat.png")):
        image = Image.open(file).convert(recipe.color).resize(recipe.shape[:0:-1], Image.Resampling.BILINEAR)
        logits = export.run_onnx(path, np.asarray(image).reshape(1, *recipe.shape[1:], -1), recipe)[:, 0]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        said.append(f"`{file.name}`: " + ", ".join(f"{classes[q.argmax()]} ({100 * q.max():.0f} %)" for q in p))
    return "Answers of the exits in order, with softmax confidence. " + "; ".join(said) + "." if said else ""


def _manifest(zoo: Path, recipe: Recipe, path: Path, facts: dict) -> None:
    """Replace this model's entry in ``manifest.toml``, keeping the others and the order of names."""
    manifest = zoo / "manifest.toml"
    entries = tomllib.loads(manifest.read_text())["model"] if manifest.exists() else []
    entries = [e for e in entries if e["name"] != recipe.name]
    entries.append({"name": recipe.name, "file": f"{recipe.name}/model.onnx", "bytes": facts["bytes"],
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "input": ["image", 1, *recipe.shape],
                    "exits": export.exit_names(len(facts["test"])), "macs_alone": facts["macs"]["alone"],
                    "accuracy_calibration": facts["calibration"], "accuracy_test": facts["test"],
                    "command": f"python -m edgerun_tools.train {recipe.name}"})
    lines = ["# Written by edgerun_tools.train; accuracy in percent and MACs per image, one value an exit, in order."]
    for e in sorted(entries, key=lambda e: e["name"]):
        lines += ["", "[[model]]", *(f"{k} = {json.dumps(v)}" for k, v in e.items())]
    manifest.write_text("\n".join(lines) + "\n")
