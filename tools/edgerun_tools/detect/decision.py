"""One class only: how usual a vector of statistics is among benign ones.

What goes into the file is a mixture of normals with full covariance (one component: Mahalanobis' distance), because it is a few products
of small matrices. `RIVALS` are fitted on the same statistics for the comparison in docs/detection.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, Any]
COMPONENTS = 4
LIMIT = 8.0
"""Scaled statistics are clipped here, which keeps the density's logarithm a number."""


class Mixture(nn.Module):
    """Statistics [n, d] -> minus the logarithm of their density but for a constant, [n, 1]."""

    def __init__(self, size: int, components: int = COMPONENTS) -> None:
        super().__init__()
        self.size, self.components = size, components
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("roots", torch.zeros(size, components * size))
        self.register_buffer("shift", torch.zeros(components * size))
        self.register_buffer("weights", torch.zeros(components))

    def scaled(self, s: Tensor) -> Tensor:
        """By benign median and 10-90 % quantiles."""
        return ((s - self.centre) / self.scale).clamp(-LIMIT, LIMIT)

    def forward(self, s: Tensor) -> Tensor:
        white = self.scaled(s) @ self.roots - self.shift
        each = self.weights - 0.5 * (white * white).reshape(-1, self.components, self.size).sum(2)
        most = each.max(1, keepdim=True)[0]
        return -(most + (each - most).exp().sum(1, keepdim=True).log())

    def fit(self, s: Tensor, seed: int = 0) -> Mixture:
        """By expectation and maximisation on benign statistics."""
        from sklearn.mixture import GaussianMixture

        with torch.no_grad():
            low, middle, high = torch.quantile(s, torch.tensor([0.1, 0.5, 0.9]), dim=0)
            self.centre.copy_(middle)
            self.scale.copy_((high - low).clamp_min(1e-6))
            found = GaussianMixture(self.components, reg_covar=1e-3, random_state=seed).fit(self.scaled(s).numpy())
            roots = found.precisions_cholesky_  # [k, d, d]: (x - mean) @ root is white
            self.roots.copy_(torch.from_numpy(np.concatenate(list(roots), 1)))
            self.shift.copy_(torch.from_numpy(np.concatenate([m @ r for m, r in zip(found.means_, roots, strict=True)])))
            self.weights.copy_(torch.from_numpy(np.log(found.weights_) + np.array([np.log(np.diag(r)).sum() for r in roots])))
        return self


def _mixture(components: int) -> Callable[[Array], Callable[[Array], Array]]:
    def fitted(benign: Array) -> Callable[[Array], Array]:
        found = Mixture(benign.shape[1], components).fit(torch.from_numpy(benign))
        return lambda s: found(torch.from_numpy(s)).numpy()[:, 0]
    return fitted


def _svm(benign: Array) -> Callable[[Array], Array]:
    from sklearn.preprocessing import RobustScaler
    from sklearn.svm import OneClassSVM

    scaler = RobustScaler(quantile_range=(10, 90)).fit(benign)
    found = OneClassSVM(nu=0.05, gamma="scale").fit(scaler.transform(benign))
    return lambda s: -found.decision_function(scaler.transform(s))


RIVALS: dict[str, Callable[[Array], Callable[[Array], Array]]] = {
    "Mahalanobis": _mixture(1), f"mixture of {COMPONENTS} normals": _mixture(COMPONENTS), "one-class SVM": _svm}
"""Name -> fit(benign [n, d]) -> score(statistics [n, d]) -> [n]."""
