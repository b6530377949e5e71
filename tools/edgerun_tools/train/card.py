"""The model card (README.md) and the training curve of a zoo model."""
from __future__ import annotations

import textwrap
from pathlib import Path

from edgerun_tools.train.export import exit_names
from edgerun_tools.train.recipes import Recipe

_CIFAR_DATA = """
CIFAR-10 (Krizhevsky 2009) as a re-compressed JPEG copy: the last 5,000 of the 50,000 training images after one
seeded shuffle (`edgerun_tools.data.cifar_split`) are the calibration split, the rest is training data; test: 5,000
images of the test set, the same kind of copy. Re-compression costs accuracy: networks trained on the original files
lose 9-12 points on this copy, so figures are not comparable with those on the originals. CIFAR-10 has no formal
licence and asks for citation; no image of it is part of this repository."""
_MNIST_DATA = """
The 10,000 images of the MNIST *test* set (LeCun, Cortes, Burges), split by index: 0-6999 training, 7000-7999
calibration, 8000-9999 test; the usual 60,000 training images are not used, so figures are not comparable with those
of networks trained on them. MNIST derives from NIST special databases and is commonly distributed under CC BY-SA
3.0; no image of it is part of this repository."""
_DIGITS_DATA = """
scikit-learn's bundled digits, 1,797 grey images of 8x8 pixels: the test set of the UCI "Optical Recognition of Handwritten Digits"
(Alpaydin, Kaynak 1998; CC BY 4.0), 0..16 stretched to 0..255. One shuffle seeded in `edgerun_tools.data` gives 1,200 training, 200
calibration and 397 test images; writers of one part appear in the others, so figures are not those of the set's own split. No image of it
is part of this repository."""
_CIFAR_LIMITS = """
It knows ten classes at 32x32 pixels: any other picture gets one of the ten, often confidently. Larger photographs
must show one object that fills the frame, and are shrunk to 32x32 first."""
_MNIST_LIMITS = """
Trained on 7,000 centred white-on-black digits: dark-on-light writing, digits far off centre or turned, and anything
that is not a digit get a wrong answer, possibly a confident one."""
_DIGITS_LIMITS = """
It exists to show a network on a microcontroller of 2 KB of RAM. It knows centred digits of 8x8 counts of ink, and nothing else."""
_DATA = {"mnist": (_MNIST_DATA, _MNIST_LIMITS), "cifar10": (_CIFAR_DATA, _CIFAR_LIMITS), "digits": (_DIGITS_DATA, _DIGITS_LIMITS)}
"""Data set, the first word of a recipe's name → what the card says of it, and of the model's limits."""
_AUGMENTATION = {"none": "none", "crop": "random crop of the reflect-padded image; mirrored every second epoch",
                 "warp": "random rotation, scale, shear, shift and elastic displacement"}


def curve(recipe: Recipe, history: list[dict], path: Path) -> None:
    """Draw loss and per-exit calibration accuracy over the epochs as a small PNG."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = [h["epoch"] for h in history]
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), dpi=100, layout="constrained")
    left.plot(epochs, [h["loss"] for h in history], color="black", marker=".")
    left.set(xlabel="epoch", ylabel="joint training loss", title=recipe.name)
    accuracies = list(zip(*(h["calibration_accuracy"] for h in history), strict=True))
    for name, values in zip(exit_names(len(accuracies)), accuracies, strict=True):
        right.plot(epochs, values, label=name, marker=".")
    lowest = min(min(a[len(a) // 3:]) for a in accuracies)
    right.set(xlabel="epoch", ylabel="calibration accuracy, %", ylim=(max(0, lowest - 5), 100))
    right.legend(fontsize=7, loc="lower right")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    fig.savefig(path, metadata={"Software": None})
    plt.close(fig)


def _exits(facts: dict) -> list[str]:
    macs, sizes = facts["macs"], facts["sizes"]
    lines = ["| exit | alone, M | % of net | its head, M | path, M | "
             f"calibration ({sizes['calibration']:,}) | test ({sizes['test']:,}) |", "|---|---|---|---|---|---|---|"]
    for i, name in enumerate(exit_names(len(macs["alone"]))):
        share = 100 * macs["alone"][i] / macs["alone"][-1]
        lines.append(f"| {name} | {_millions(macs['alone'][i])} | {share:.1f} | {_millions(macs['head'][i])} | "
                     f"{_millions(macs['path'][i])} | {facts['calibration'][i]:.2f} | {facts['test'][i]:.2f} |")
    return lines


def _recipe(recipe: Recipe, facts: dict) -> list[str]:
    history = facts["history"]
    wall, cpu = (sum(h[k] for h in history) / 60 for k in ("seconds", "cpu_seconds"))
    sizes = [h["crop"] for h in history]
    crops = ", ".join(map(str, sizes)) if len(set(sizes)) > 1 else f"always {sizes[0]}"
    batches = dict.fromkeys(f"{p.batch} ({p.crop} pixels)" for c in recipe.cycles for p in c.phases)
    cycles = " then ".join(f"{c.epochs} epochs (peak {c.lr} per 128 images, {100 * c.warmup:.0f} % warm-up)"
                           for c in recipe.cycles)
    rows = {
        "epochs": f"{history[-1]['epoch']}; {wall:.0f} min wall, {cpu:.0f} min of processor time on two shared cores",
        "images": f"{facts['sizes']['train']:,}; crop sizes by epoch, pixels: {crops}; batches of "
                  + ", ".join(batches),
        "augmentation": _AUGMENTATION[recipe.augment],
        "optimiser": f"SGD, Nesterov momentum {recipe.momentum}, weight decay {recipe.weight_decay} (weights only); "
                     f"one-cycle learning rate over {cycles}; {recipe.replicas} replica{'s' * (recipe.replicas > 1)}"
                     + ("; autocast to bfloat16, depthwise convolutions excepted" if recipe.bf16 else ""),
        "loss": f"sum over exits i of i/N times cross-entropy (label smoothing {recipe.smoothing}); for early exits "
                f"{100 * recipe.distil:.0f} % of it is replaced by T² KL from the last exit "
                f"(T = {recipe.temperature:g}) after {100 * recipe.distil_from:.0f} % of the first cycle",
        "seed": f"{recipe.seed}",
        "choice of epoch": "none: the last one. No calibration or test image is trained on" + recipe.note,
    }
    return ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]


def _prose(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _leaving(recipe: Recipe, exits: int) -> list[str]:
    """The section on early exit, for nets that have any."""
    if exits < 2:
        return []
    return ["", "## Leaving early", "", f"`python -m edgerun_tools.zoo {recipe.name}` calibrates on the calibration images and "
            "evaluates on the test images (`early_exit.json`):", "", "![accuracy against time of every policy](early_exit.png)"]


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f}" if macs >= 1e5 or not macs else f"{macs / 1e6:.4f}"


def text(recipe: Recipe, facts: dict, notes: str = "") -> str:
    """The card in Markdown; `facts` as gathered by `publish.publish`, `notes` added as its own section."""
    names, history = exit_names(len(facts["test"])), facts["history"]
    about, limits = _DATA[recipe.name.partition("_")[0]]
    shape = ",".join(map(str, recipe.shape))
    done, planned = history[-1]["epoch"], history[-1]["of"]
    interim = [] if done == planned else [f"**Interim export** after epoch {done} of {planned}: to be replaced.", ""]
    return "\n".join([
        f"# {recipe.name}", "", f"{recipe.title}.", "", *interim,
        *_prose(f"Input `image` float32 [batch,{shape}] {recipe.color}, x = (pixel/255 - mean)/std with mean "
                f"{list(recipe.mean)} and std {list(recipe.std)}; outputs {', '.join(f'`{n}`' for n in names)}: logits "
                f"[batch,10]. fp32, opset 17, {facts['bytes'] / 1e6:.2f} MB; operators: "
                f"{', '.join(facts['operators'])}."),
        "", "## Cost and accuracy per exit", "",
        *_prose("MACs (convolutions and linear layers) for one image. *alone*: straight to this exit, no other head; "
                "*% of net*: of the last exit alone; *path*: with the heads of all earlier exits. Accuracy in %."),
        "", *_exits(facts), "",
        *_prose("Test figures are of the exported file in ONNX Runtime, which agrees with PyTorch within "
                f"{facts['error']:.1e} (absolute, logits)."),
        "", "## Recipe", "", f"`python -m edgerun_tools.train {recipe.name}` (data: `--data` or `EDGERUN_DATA`)", "",
        *_recipe(recipe, facts), "", "![training curve](curve.png)", "",
        *_prose("Per-epoch figures: `history.json` (before the last epoch measured on every second calibration image). "
                "Floating-point summation order depends on the machine, so a re-run agrees in accuracy to a few "
                "tenths of a point, not in bits."),
        *_leaving(recipe, len(names)),
        *(["", "## On the sample images", "", *_prose(notes)] if notes else []),
        "", "## Data", "", *_prose(about),
        "", "## Intended use and limits", "",
        *_prose("Demonstration and measurement of early exit, fault detection and the runtime's speed. "
                + limits
                + " Softmax confidence is not a calibrated probability; exit thresholds belong to the data they were "
                "calibrated on."), ""])
