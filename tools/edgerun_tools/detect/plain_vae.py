"""A small variational autoencoder on flat features: the attacker's generator, and the baselines' model of what is benign.

Kingma, Welling 2014, arXiv 1312.6114; with `classes`, both halves are told the class as a one-hot vector (Sohn et al. 2015). Features are
scaled by `scale` before and after. Linear sizes: D [+ classes] -> hidden -> latent, latent [+ classes] -> hidden -> D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Array = np.ndarray[Any, Any]


class PlainVae(nn.Module):
    """Mean and log-variance from a ReLU layer, decoder with one ReLU layer, linear output."""

    def __init__(self, size: int, scale: float, latent: int = 48, hidden: int = 256, classes: int = 0) -> None:
        super().__init__()
        self.scale, self.classes = scale, classes
        self.inner = nn.Sequential(nn.Linear(size + classes, hidden), nn.ReLU())
        self.mean, self.spread = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent + classes, hidden), nn.ReLU(), nn.Linear(hidden, size))

    def encode(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [n, …] (and classes int64 [n]) -> mean and log-variance [n, latent]."""
        inner = self.inner(self._told(x.flatten(1) / self.scale, y))
        return self.mean(inner), self.spread(inner).clamp(-8, 8)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [n, latent] -> features [n, D], in their own units."""
        return self.decoder(self._told(z, y)) * self.scale

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Features again from the mean of their code: [n, D]."""
        return self.decode(self.encode(x, y)[0], y)

    def _told(self, x: Tensor, y: Tensor | None) -> Tensor:
        return x if y is None else torch.cat([x, F.one_hot(y, self.classes).to(x.dtype)], 1)


def fit(vae: PlainVae, x: Array, y: Array | None, seed: int, epochs: int = 15, batch: int = 128, rate: float = 1e-3,
        beta: float = 1.0, extra: Any = None) -> PlainVae:
    """Least summed squared error (in units of scale^2) + beta KL by Adam; x float32 [N, …], y int64 [N] or None.

    extra(decoded [n, D], y) -> loss to be added, mean over the batch, for a generator with a goal of its own."""
    torch.manual_seed(seed)
    rng, steps = np.random.default_rng(seed), torch.optim.Adam(vae.parameters(), lr=rate)
    vae.train()
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for i in range(0, len(x) - batch + 1, batch):
            pick = order[i:i + batch]
            sent, told = torch.from_numpy(x[pick]), None if y is None else torch.from_numpy(y[pick])
            mean, spread = vae.encode(sent, told)
            z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
            out = vae.decode(z, told)
            kl = -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1).mean()
            loss = ((out - sent.flatten(1)) / vae.scale).square().sum(1).mean() + beta * kl
            if extra is not None:
                loss = loss + extra(out, told)
            steps.zero_grad()
            loss.backward()
            steps.step()
    return vae.eval()
