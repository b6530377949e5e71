"""What is looked at of features: a summary that noise moves little, and statistics of what an autoencoder cannot reconstruct of it.

The summary of a map [C, H, W] has three numbers a channel: mean, root mean square, and the part of the square that is lost when
2 x 2 neighbours are averaged (energy of high frequencies: adversarial changes are rough). Elements are clipped to the benign range,
widened by a tenth: one impulse moves a mean of 64 elements by at most 1/64 of the range. Each number is then scaled by its benign median
and 10-90 % quantiles, and clipped again, so that a few channels in disorder, as noise leaves them, weigh little: a manipulation moves most
of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgerun_tools.detect.vae import AdVae

Array = np.ndarray[Any, Any]
NAMES = ("latent shift", "latent distance", "residual's sign", "above 25 %", "above 50 %", "above 75 %")
"""Columns of `Residuals`. "above q": a smoothed count of residuals beyond the benign quantile q, what median and MAD are made of: a
quantile is where such a count crosses 1 - q, and counts need no sorting."""
LEVELS = (0.25, 0.5, 0.75)
LIMIT = 1.5
"""Scaled numbers of the summary are clipped here. With 6, and counts up to 95 %, a benign burst that fills 4 % of the channels gave 46 %
false alarms instead of 6 (nominal 5; ResNet, last cut), and attacks were found as often."""


def pooled(x: Tensor) -> Tensor:
    """Means of the channels, [n, C]: as a pooling, which the engine computes in the layout of its convolutions."""
    return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)


class Summary(nn.Module):
    """Features [n, C, H, W] (or [n, D]) -> [n, size], scaled by benign quantiles. whole: every element, for the published sizes."""

    def __init__(self, shape: tuple[int, ...], low: float, high: float, whole: bool = False) -> None:
        super().__init__()
        margin = 0.1 * (high - low)
        self.low, self.high, self.map = float(low - margin), float(high + margin), len(shape) == 4 and not whole
        self.rough = self.map and min(shape[2:]) >= 2
        self.size = (shape[1] * (3 if self.rough else 2)) if self.map else int(np.prod(shape[1:]))
        self.register_buffer("centre", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def raw(self, x: Tensor) -> Tensor:
        """Before scaling."""
        x = x.clamp(self.low, self.high)
        if not self.map:
            return x.flatten(1)
        square = pooled(x * x)
        if not self.rough:
            return torch.cat([pooled(x), square.clamp_min(1e-6).sqrt()], 1)
        smooth = nn.functional.avg_pool2d(x, 2)
        energies = torch.cat([square, square - pooled(smooth * smooth)], 1)
        return torch.cat([pooled(x), energies.clamp_min(1e-6).sqrt()], 1)

    def forward(self, x: Tensor) -> Tensor:
        return ((self.raw(x) - self.centre) / self.scale).clamp(-LIMIT, LIMIT)

    def fit(self, x: Tensor) -> None:
        """Centre and scale of benign features [n, …]."""
        with torch.no_grad():
            raw = torch.cat([self.raw(p) for p in x.split(250)])
            low, middle, high = torch.quantile(raw[:2000], torch.tensor([0.1, 0.5, 0.9]), dim=0)
            self.centre.copy_(middle)
            self.scale.copy_((high - low).clamp_min(1e-3 * float((high - low).max())))


class Residuals(nn.Module):
    """Statistics [n, len(NAMES)] of scaled summaries [n, size], by an autoencoder."""

    def __init__(self, vae: AdVae, size: int, latent: int) -> None:
        super().__init__()
        self.vae = vae
        self.register_buffer("levels", torch.ones(3))
        self.register_buffer("middle", torch.zeros(latent))
        self.register_buffer("white", torch.eye(latent))

    def forward(self, v: Tensor) -> Tensor:
        again, mu, moved = self.vae(v)
        r = v - again
        code = torch.stack([mu - moved, (mu - self.middle) @ self.white], 1)
        counts = torch.sigmoid(r.abs()[:, None, :] * (4 / self.levels)[:, None] - 4).mean(2)
        logs = (code * code).clamp_max(9.0).mean(2).clamp_min(1e-6).log()
        return torch.cat([logs, torch.tanh(r / self.levels[1]).mean(1, keepdim=True), counts], 1)

    def fit(self, v: Tensor) -> None:
        """Levels and the code's distribution, from benign summaries under noise."""
        with torch.no_grad():
            again, mu, _ = self.vae(v)
            size = (v - again).abs().flatten()
            self.levels.copy_(torch.quantile(size[:: max(1, len(size) // 1_000_000)], torch.tensor(LEVELS)).clamp_min(1e-4))
            self.middle.copy_(mu.mean(0))
            values, vectors = torch.linalg.eigh(torch.cov(mu.T))
            self.white.copy_(vectors / values.clamp_min(1e-4 * float(values.max())).sqrt())
