"""What the detector is measured against, on the same data: three one-class scores, greater for what looks manipulated.

mse          mean squared residual of a variational autoencoder: what a detector that knows nothing of noise uses
mahalanobis  distance of the channels' means from their benign mean, under a shrunk covariance (Lee et al. 2018, arXiv 1807.03888, without
             classes: the server does not know the true one)
paper        the pipeline of the paper's public code (Noise-aware misclassification detection, dissectlab): an autoencoder with a
             transformer in its code (after adVAE, arXiv 1903.00904), four features of residual and code, a one-class SVM

Every baseline is fitted to benign features under noise alone, and its threshold is a quantile of benign scores: none sees an attack.
Where `paper` differs from the public code, it is in what would have been wrong there: the loss is L1, not the median of residuals (which
moves one element a sample); features are scaled by benign features, not each sample by its own extremes (which one impulse ruins); the
code is the mean, not a draw; the SVM learns from messages that the autoencoder has not seen; nu = 0.05 is fixed instead of tuned on
labelled attacks (where noisy attacks were labelled benign). Epochs and sizes are fitted to tensors of 2 to 8 thousand elements instead of
100 thousand.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edgerun_tools.detect.noise import Reference
from edgerun_tools.detect.plain_vae import PlainVae, fit

Array = np.ndarray[Any, Any]
BATCH = 250
NU = 0.05


class Baseline(Protocol):
    """fit(train, fresh): benign features under noise, float32 [N, …] and [M, …], of different images; score(x): float64 [n]."""

    def fit(self, train: Array, fresh: Array) -> None: ...

    def score(self, x: Array) -> Array: ...


class Mse:
    """Mean squared residual of `PlainVae`."""

    def __init__(self, reference: Reference, seed: int = 0, epochs: int = 15) -> None:
        self._reference, self._seed, self._epochs = reference, seed, epochs

    def fit(self, train: Array, fresh: Array) -> None:
        x = _bounded(train, self._reference)  # impulses would be all that the squared loss sees
        torch.manual_seed(self._seed)
        self._vae = fit(PlainVae(int(np.prod(x.shape[1:])), self._reference.scale), x, None, self._seed, self._epochs)

    def score(self, x: Array) -> Array:
        return _each(x, lambda t: (self._vae(t) - t.flatten(1)).square().mean(1))


class Mahalanobis:
    """Squared distance of the channels' means (float32 [n, C] of [n, C, …]) under Ledoit and Wolf's covariance."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def fit(self, train: Array, fresh: Array) -> None:
        from sklearn.covariance import LedoitWolf

        self._law = LedoitWolf().fit(_pooled(_bounded(train, self._reference)))

    def score(self, x: Array) -> Array:
        return np.asarray(self._law.mahalanobis(_pooled(x)), np.float64)


class Paper:
    """Residual's mean square, median and median absolute deviation, the code's shift under the transformer; one-class SVM (RBF)."""

    def __init__(self, reference: Reference, seed: int = 0, epochs: int = 12, rate: float = 5e-4, batch: int = 64) -> None:
        self._reference, self._seed, self._epochs, self._rate, self._batch = reference, seed, epochs, rate, batch

    def fit(self, train: Array, fresh: Array) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import RobustScaler
        from sklearn.svm import OneClassSVM

        torch.manual_seed(self._seed)
        self._net = _AdVae(int(np.prod(train.shape[1:])), self._reference.scale)
        steps, rng = torch.optim.Adam(self._net.parameters(), lr=self._rate), np.random.default_rng(self._seed)
        for _ in range(self._epochs):
            order = rng.permutation(len(train))
            for i in range(0, len(train) - self._batch + 1, self._batch):
                steps.zero_grad()
                self._net.loss(torch.from_numpy(train[order[i:i + self._batch]])).backward()
                nn.utils.clip_grad_norm_(self._net.parameters(), 10.0)  # one impulse of alpha-stable noise has no bound
                steps.step()
        self._net.eval()
        self._svm = make_pipeline(RobustScaler(quantile_range=(10, 90)), OneClassSVM(kernel="rbf", nu=NU, gamma="scale"))
        self._svm.fit(self.features(fresh))

    def features(self, x: Array) -> Array:
        """[n, 4]: recon_error, latent_shift, resid_median, resid_mad. float64, cut off at 1e12 for the scaler's sake."""
        return np.minimum(_each(x, self._net.features), 1e12)

    def score(self, x: Array) -> Array:
        return -np.asarray(self._svm.decision_function(self.features(x)), np.float64)


class _AdVae(nn.Module):
    """Encoder D -> 512 -> 256 -> latent 128, decoder back, transformer 128 -> 128 in the code."""

    def __init__(self, size: int, scale: float, latent: int = 128) -> None:
        super().__init__()
        self.scale = scale
        self.inner = nn.Sequential(nn.Linear(size, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU())
        self.mean, self.spread = nn.Linear(256, latent), nn.Linear(256, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, size))
        self.transformer = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, latent))

    def loss(self, x: Tensor) -> Tensor:
        x = x.flatten(1) / self.scale
        inner = self.inner(x)
        mean, spread = self.mean(inner), self.spread(inner).clamp(-8, 8)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        moved = self.transformer(z)
        kl = -0.5 * (1 + spread - mean.square() - spread.exp()).mean()
        return (self.decoder(z) - x).abs().mean() + kl + (moved - z).square().mean() + (self.decoder(moved) - x).abs().mean()

    def features(self, x: Tensor) -> Tensor:
        x = x.flatten(1) / self.scale
        z = self.mean(self.inner(x))
        r = (x - self.decoder(z)).double()  # the square of an impulse may leave float32
        middle = r.median(1, keepdim=True).values
        shift = (z - self.transformer(z)).norm(dim=1)
        return torch.stack([r.square().mean(1), shift, middle[:, 0], (r - middle).abs().median(1).values], 1)


def _pooled(x: Array) -> Array:
    return x.reshape(*x.shape[:2], -1).mean(2) if x.ndim > 2 else x


def _bounded(x: Array, reference: Reference) -> Array:
    """Benign features with impulses cut off at twice the clean range: they stay outliers, but do not decide a mean alone."""
    middle, half = (reference.greatest + reference.least) / 2, reference.greatest - reference.least
    return np.clip(x, middle - half, middle + half).astype(np.float32)


def _each(x: Array, work: Any) -> Array:
    with torch.no_grad():
        return torch.cat([work(torch.from_numpy(x[i:i + BATCH])) for i in range(0, len(x), BATCH)]).double().numpy()


def baselines(reference: Reference, seed: int = 0) -> dict[str, Baseline]:
    """All of them by name, not fitted yet."""
    return {"mse": Mse(reference, seed), "mahalanobis": Mahalanobis(reference), "paper": Paper(reference, seed)}
