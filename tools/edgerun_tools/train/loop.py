"""The training loop: joint loss over all exits, one-cycle learning rates, a resumable checkpoint every epoch.

The last epoch's weights are the result: no epoch is chosen by any measured accuracy, and test images are not read here.
"""
from __future__ import annotations

import functools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgerun_tools.train import augment
from edgerun_tools.train.nets import ExitNet
from edgerun_tools.train.progress import Progress
from edgerun_tools.train.recipes import Recipe, Splits
from edgerun_tools.train.replicas import Replicas


def joint_loss(logits: tuple[Tensor, ...], y: Tensor, recipe: Recipe, share: float) -> Tensor:
    """sum_i (i/N) * L_i over exits i = 1..N (DART, arXiv 2603.12269, Eq. 18 without its policy term).

    L_N is cross-entropy with label smoothing; for i < N, L_i = (1-share)*CE + share*T^2*KL(last || i), the last
    exit's logits taken as constants (self-distillation, Zhang et al. 2019, arXiv 1905.08094)."""
    n, t = len(logits), recipe.temperature
    teacher = F.softmax(logits[-1].detach() / t, dim=1)
    total = F.cross_entropy(logits[-1], y, label_smoothing=recipe.smoothing)
    for i, z in enumerate(logits[:-1], 1):
        loss = F.cross_entropy(z, y, label_smoothing=recipe.smoothing)
        if share:
            kl = F.kl_div(F.log_softmax(z / t, dim=1), teacher, reduction="batchmean")
            loss = (1 - share) * loss + share * t * t * kl
        total = total + i / n * loss
    return total


def one_cycle(at: float, peak: float, warmup: float) -> float:
    """Learning rate at fraction `at` of a cycle: linear from peak/10 to peak, then half a cosine down to peak/500."""
    if at < warmup:
        return peak * (0.1 + 0.9 * at / warmup)
    return peak * (0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * (at - warmup) / (1 - warmup))))


@torch.no_grad()
def predict(net: ExitNet, x: np.ndarray, norm: augment.Normalise, batch: int = 125) -> np.ndarray:
    """Logits of every exit, float32 [exits,N,classes], for uint8 images [N,H,W,C]."""
    net.eval()
    parts = [torch.stack(net(norm(augment.to_nchw(x[i:i + batch])))) for i in range(0, len(x), batch)]
    return torch.cat(parts, dim=1).numpy()


def accuracy(logits: np.ndarray, y: np.ndarray) -> list[float]:
    """Share of right answers of each exit, in percent; logits [exits,N,classes], y [N]."""
    return [round(100 * float((z.argmax(1) == y).mean()), 3) for z in logits]


def _optimiser(net: ExitNet, recipe: Recipe) -> torch.optim.SGD:
    decay = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]  # biases, BatchNorm: no weight decay
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest}]
    return torch.optim.SGD(groups, lr=recipe.cycles[0].lr, momentum=recipe.momentum, nesterov=True)


def _batch(recipe: Recipe, x: np.ndarray, crop: int, mirrored: np.ndarray, rng: np.random.Generator) -> Tensor:
    if recipe.augment == "warp":
        return augment.warp(x, rng)
    if recipe.augment == "none":
        return augment.to_nchw(x)
    return augment.crop_flip(x, crop, 4 if crop == x.shape[1] else 2, mirrored, rng)


def train(recipe: Recipe, splits: Splits, work: Path, resume: bool) -> tuple[ExitNet, list[dict]]:
    """Run the recipe; returns the net (eval mode) and the history, one dict an epoch.

    work: folder for ``<name>.ckpt`` and ``<name>.history.json``.  Seeds depend on the recipe and the epoch only, so a
    resumed run draws the same batches as an uninterrupted one."""
    torch.manual_seed(recipe.seed)
    net = recipe.net().to(memory_format=torch.channels_last)
    opt = _optimiser(net, recipe)
    norm, (x, y) = augment.Normalise(recipe.mean, recipe.std), splits.train
    ckpt, history, start = work / f"{recipe.name}.ckpt", [], 0
    if resume and ckpt.exists():
        state = torch.load(ckpt, weights_only=True)
        net.load_state_dict(state["net"])
        opt.load_state_dict(state["opt"])
        history, start = state["history"], state["epoch"]
    replicas = Replicas(net, recipe.replicas, recipe.bf16)
    side = np.random.default_rng(recipe.seed).random(len(x)) < 0.5  # mirrored in even epochs, the others in odd ones
    epochs = recipe.epochs
    progress = Progress(recipe.name, epochs * len(x), start * len(x))
    for epoch in range(start, epochs):
        number, local = recipe.cycle(epoch)
        cycle, rng = recipe.cycles[number], np.random.default_rng([recipe.seed, epoch])
        phase = cycle.phase(local)
        order, wall, cpu, losses = rng.permutation(len(x)), time.time(), time.process_time(), []
        for i in range(0, len(x) - phase.batch + 1, phase.batch):
            pick, at = order[i:i + phase.batch], (local + i / len(x)) / cycle.epochs
            for group in opt.param_groups:
                group["lr"] = one_cycle(at, cycle.lr, cycle.warmup) * phase.batch / 128
            images = norm(_batch(recipe, x[pick], phase.crop, side[pick] ^ bool(epoch % 2), rng))
            share = recipe.distil if number or at >= recipe.distil_from else 0.0
            losses.append(replicas.backward(images, torch.from_numpy(y[pick]),
                                            functools.partial(joint_loss, recipe=recipe, share=share)))
            opt.step()
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"{recipe.name}: loss {losses[-1]} in epoch {epoch + 1}, batch {len(losses)}")
            progress.update(epoch * len(x) + i + phase.batch, f"epoch {epoch + 1}/{epochs} loss {losses[-1]:.3f}")
        torch.set_num_threads(recipe.replicas)
        half = slice(None, None, 1 if epoch + 1 == epochs else 2)  # every second image is enough for the curve
        cal = accuracy(predict(net, splits.calibration[0][half], norm), splits.calibration[1][half])
        torch.set_num_threads(1)
        history.append({"epoch": epoch + 1, "of": epochs, "cycle": number + 1, "crop": phase.crop,
                        "loss": round(float(np.mean(losses)), 4), "calibration_accuracy": cal,
                        "seconds": round(time.time() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)})
        progress.note(f"epoch {epoch + 1}/{epochs} crop {phase.crop} loss {history[-1]['loss']} calibration % {cal} "
                      f"{history[-1]['seconds']} s (cpu {history[-1]['cpu_seconds']} s)")
        tmp = ckpt.with_suffix(".tmp")
        torch.save({"net": net.state_dict(), "opt": opt.state_dict(), "epoch": epoch + 1, "history": history}, tmp)
        tmp.replace(ckpt)
        (work / f"{recipe.name}.history.json").write_text(json.dumps(history, indent=1))
    progress.close()
    replicas.close()
    return net.eval(), history


def restore(recipe: Recipe, work: Path) -> tuple[ExitNet, list[dict]]:
    """Net (eval mode) and history of the last checkpoint in `work`."""
    state = torch.load(work / f"{recipe.name}.ckpt", weights_only=True)
    net = recipe.net()
    net.load_state_dict(state["net"])
    return net.to(memory_format=torch.channels_last).eval(), state["history"]
