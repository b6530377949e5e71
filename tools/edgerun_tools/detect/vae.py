"""The adversarial-latent autoencoder of the noise-aware detector, with the published code's defects mended.

After Wang et al., "adVAE: a self-adversarial variational autoencoder with Gaussian anomaly prior knowledge" (arXiv 1903.00904), in the form
that the noise-aware detector of split inference uses it: encoder x -> (mu, log s^2), decoder z -> x', transformer T: z -> z_t,

    L = rho(x' - x) + beta KL + gamma ( mean (z_t - z)^2 + rho(D(z_t) - x) ),   KL = -1/2 mean(1 + log s^2 - mu^2 - s^2), beta = gamma = 1

What differs from the published code: rho is Huber's loss, mean over all elements, where it takes the median, whose gradient reaches one
element a sample; inputs are scaled by benign robust quantiles, where it scales each sample by its own extremes, which one impulse
decides; scores are computed at z = mu, where it averages samples. Sizes: published 512-256-128; compact 64-16.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Array = np.ndarray[Any, Any]
SIZES = {"compact": (64, 16), "paper": (512, 256, 128)}
"""Widths behind the input, the last one the code's."""


def _stack(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class AdVae(nn.Module):
    """x [n, size] scaled -> its reconstruction from the code's mean."""

    def __init__(self, size: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        *inner, latent = widths
        self.encoder = nn.Sequential(_stack([size, *inner]), nn.ReLU())
        self.mean, self.spread = nn.Linear(inner[-1], latent), nn.Linear(inner[-1], latent)
        self.decoder = _stack([latent, *reversed(inner), size])
        self.transformer = nn.Sequential(nn.Linear(latent, latent), nn.ReLU(), nn.Linear(latent, latent))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction [n, size], code's mean mu [n, latent], T(mu) [n, latent])."""
        mu = self.mean(self.encoder(x))
        return self.decoder(mu), mu, self.transformer(mu)

    def loss(self, x: Tensor, wanted: Tensor) -> Tensor:
        """L of a batch: x as it arrives, `wanted` what is to be reconstructed."""
        inner = self.encoder(x)
        mu, spread = self.mean(inner), self.spread(inner).clamp(-8, 8)
        z = mu + torch.randn_like(mu) * (0.5 * spread).exp()
        moved = self.transformer(z)
        kl = -0.5 * (1 + spread - mu.square() - spread.exp()).mean()
        again, other = F.huber_loss(self.decoder(z), wanted), F.huber_loss(self.decoder(moved), wanted)
        return again + kl * x.shape[1] ** -0.5 + (moved - z).square().mean() + other


def fit(vae: AdVae, batches: Callable[[], tuple[Tensor, Tensor]], steps: int, rate: float = 2e-3,
        tick: Callable[[], object] = lambda: None) -> AdVae:
    """Adam with a rate that falls to 0 over `steps` batches (x, wanted)."""
    optimiser = torch.optim.Adam(vae.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    vae.train()
    for _ in range(steps):
        loss = vae.loss(*batches())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
        tick()
    return vae.eval()
