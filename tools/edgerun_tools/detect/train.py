"""From benign features to a detector: nothing here has seen an attack.

1. The witness (`agreement`) learns the tail's answers on features of `train` under the trained kinds of noise.
2. The autoencoder (`vae`) learns their summary; levels of residuals, the code's distribution and the density of the statistics (`decision`)
   follow from the same features.
3. On features of `calibration`, again under noise, the parts' quantiles and the thresholds are found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerun.detect.about import MODES, About
from edgerun_tools.detect import noise
from edgerun_tools.detect.agreement import Witness, train_loss
from edgerun_tools.detect.decision import Mixture
from edgerun_tools.detect.features_of import Features
from edgerun_tools.detect.network import PARTS, DetectorNet
from edgerun_tools.detect.served import ServedTail
from edgerun_tools.detect.statistics import NAMES, Residuals, Summary
from edgerun_tools.detect.vae import SIZES, AdVae
from edgerun_tools.detect.vae import fit as fit_vae

Array = np.ndarray[Any, Any]
Tick = Callable[[str, int, int], object]
"""tick(what, done, of)."""
RATES = (0.01, 0.02, 0.05, 0.1)
BATCH = 100
ROUNDS = 3
"""Draws of noise of every calibration input."""


@dataclass(frozen=True)
class Settings:
    """variant: of SIZES. epochs over the training features for the witness; vae_steps: batches for the autoencoder."""

    variant: str = "compact"
    epochs: int = 6
    vae_steps: int = 600
    rate: float = 4e-3
    seed: int = 2026


@dataclass(frozen=True)
class Trained:
    """net: ready to run. thresholds: {mode: {rate: score}}. reference: of the benign features, for noise and attacks."""

    net: DetectorNet
    thresholds: dict[str, dict[str, float]]
    reference: noise.Reference
    settings: Settings

    def about(self, tensor: str, exit_name: str, data: str, inputs: int, head: str = "", tail: str = "") -> About:
        """The page of the file. data, inputs: what the thresholds were found on."""
        net = self.net
        return About(tensor, (1, *net.shape[1:]), net.classes, exit_name, self.settings.variant, PARTS, self.thresholds,
                     {"data": data, "inputs": inputs, "noise": list(noise.TRAINED), "strengths": list(noise.STRENGTHS), "rounds": ROUNDS,
                      "seed": self.settings.seed}, head, tail)


def train(benign: Features, calibration: Features, tail: ServedTail, settings: Settings | None = None,
          tick: Tick = lambda *_: None) -> Trained:
    """The pipeline. benign, calibration: clean features of different images. Raises InputError where they are no benign features."""
    settings = settings or Settings()
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    reference = noise.Reference.of(benign.x)
    shape, classes = benign.x.shape, tail.scores(benign.x[:1]).shape[1]
    low, high = reference.low - 2 * reference.scale, reference.high + 2 * reference.scale
    witness = Witness(shape, classes, low, high)
    _fit_witness(witness, benign, tail, reference, settings, rng, tick)
    summary = Summary(shape, reference.low, reference.high, settings.variant == "paper")
    summary.fit(torch.from_numpy(benign.x[:2000]))
    widths = SIZES[settings.variant]
    vae = AdVae(summary.size, widths)
    step = 0

    def batches() -> tuple[Tensor, Tensor]:
        nonlocal step
        step += 1
        tick("autoencoder", step, settings.vae_steps)
        pick = rng.integers(0, len(benign), BATCH)
        with torch.no_grad():
            clean, noisy = benign.x[pick], noise.mixture(benign.x[pick], reference, rng)
            return summary(torch.from_numpy(noisy)), summary(torch.from_numpy(clean))

    fit_vae(vae, batches, settings.vae_steps)
    residuals = Residuals(vae, summary.size, widths[-1])
    with torch.no_grad():
        few = torch.from_numpy(noise.mixture(benign.x[:4000], reference, rng))
        v = torch.cat([summary(p) for p in few.split(250)])
        residuals.fit(v)
        found = torch.cat([residuals(p) for p in v.split(250)])
    net = DetectorNet(summary, residuals, Mixture(len(NAMES)).fit(found), witness, tuple(shape), classes).eval()
    return Trained(net, _calibrate(net, calibration, tail, reference, rng, tick), reference, settings)


def _fit_witness(witness: Witness, benign: Features, tail: ServedTail, reference: noise.Reference, settings: Settings,
                 rng: np.random.Generator, tick: Tick) -> None:
    optimiser = torch.optim.AdamW(witness.parameters(), settings.rate, weight_decay=1e-2)
    steps = settings.epochs * (len(benign) // BATCH)
    rising = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, max(steps, 1))
    witness.train()
    done = 0
    for _ in range(settings.epochs):
        order = rng.permutation(len(benign))
        for i in range(0, len(order) - BATCH + 1, BATCH):
            pick = order[i:i + BATCH]
            x = benign.x[pick]
            if x.ndim == 4 and rng.random() < 0.5:  # a mirrored image has mirrored features, but for the padding's side
                x = x[..., ::-1]
            noisy = noise.mixture(x, reference, rng)
            loss = train_loss(witness, torch.from_numpy(noisy), torch.from_numpy(tail.scores(noisy)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rising.step()
            done += 1
            tick("witness", done, steps)
    witness.eval()


def _calibrate(net: DetectorNet, calibration: Features, tail: ServedTail, reference: noise.Reference, rng: np.random.Generator,
               tick: Tick) -> dict[str, dict[str, float]]:
    """Fits the parts' quantiles and returns the thresholds."""
    exits = calibration.exits[:, -1] if calibration.exits.shape[1] else None
    parts = []
    for k in range(ROUNDS):
        x = noise.mixture(calibration.x, reference, rng)
        parts.append(net.run(x, exits, tail.scores(x))[1])
        tick("thresholds", k + 1, ROUNDS)
    together = np.concatenate(parts)
    net.surprise.fit(together)
    with torch.no_grad():
        scores = net.combined(torch.from_numpy(together)).numpy()
    known = [m for m in MODES if exits is not None or m in ("features", "tail")]
    return {m: {f"{r:g}": float(np.quantile(scores[:, MODES.index(m)], 1 - r)) for r in RATES} for m in known}
