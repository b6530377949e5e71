"""Does the tail's answer agree with what else is known of the input?

The `Witness` reads the features themselves, with a small network of its own: a manipulation is made for the tail, and rarely turns both
alike. The head's last exit was computed before anybody could touch the features. Answers are compared by the divergence of Jensen and
Shannon (Lin 1991, IEEE Trans. Inf. Theory 37), with H the entropy of the softmax of the logits:

    J(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2,   from 0 (the same) to log 2 (no class in common)

It is bounded and needs no spread to be estimated, so noise of a kind never met moves its distribution as little as it moves the answers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PAIRS = ((0, 1), (0, 2), (1, 2))


class Divergences(nn.Module):
    """Logits [n, 3, classes] of three -> J of each of PAIRS, [n, 3]. Few large steps rather than many small ones: the engine's time for
    these is that of the steps, not of the numbers."""

    def __init__(self) -> None:
        super().__init__()
        blend, sums = torch.zeros(6, 3), torch.zeros(6, 3)
        for k, (a, b) in enumerate(PAIRS):
            blend[k, k] = 1.0
            blend[3 + k, a] = blend[3 + k, b] = 0.5
            sums[3 + k, k], sums[a, k], sums[b, k] = -1.0, 0.5, 0.5
        self.register_buffer("blend", blend)
        self.register_buffer("sums", sums)

    def forward(self, logits: Tensor) -> Tensor:
        p = self.blend @ logits.softmax(2)
        return (p * p.clamp_min(1e-12).log()).sum(2) @ self.sums


def conv(inner: int, outer: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size, BatchNorm (folded in at export), ReLU."""
    return [nn.Conv2d(inner, outer, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]


class Witness(nn.Module):
    """Features [n, C, H, W] or [n, D], clipped to [low, high] -> logits [n, classes]."""

    def __init__(self, shape: tuple[int, ...], classes: int, low: float, high: float, narrow: int = 48, wide: int = 64) -> None:
        super().__init__()
        self.low, self.high = float(low), float(high)
        layers: list[nn.Module] = []
        if len(shape) == 4:
            size = min(shape[2:])
            if size >= 16:
                layers.append(nn.AvgPool2d(size // 8))
                size = 8
            layers += conv(shape[1], narrow, 1)
            if size > 4:
                layers += [nn.MaxPool2d(2)]
            layers += [*conv(narrow, wide, 3 if size > 1 else 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        else:
            layers += [nn.Linear(shape[1], wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(wide, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.clamp(self.low, self.high))


def train_loss(witness: Witness, x: Tensor, tail: Tensor) -> Tensor:
    """Cross-entropy of a batch: x as it arrives, `tail` the tail's logits for it."""
    return -(tail.softmax(1) * witness(x).log_softmax(1)).sum(1).mean()
