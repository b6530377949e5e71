"""Does the tail's answer agree with what else is known of the input?

The `Witness` reads the features themselves, with a small network of its own: a manipulation is made for the tail, and rarely turns both
alike. The head's last exit was computed before anybody could touch the features. Answers are compared by the divergence of Jensen and
Shannon (Lin 1991, IEEE Trans. Inf. Theory 37), with H the entropy of the softmax of the logits:

    J(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2,   from 0 (the same) to log 2 (no class in common)

It is bounded and needs no spread to be estimated, so noise of a kind never met moves its distribution as little as it moves the answers.
"""

from __future__ import annotations

from torch import Tensor, nn


def entropy(p: Tensor) -> Tensor:
    """H of probabilities [n, classes], [n, 1]."""
    return -(p * p.clamp_min(1e-12).log()).sum(1, keepdim=True)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """J of probabilities [n, classes], [n, 1]."""
    return entropy(0.5 * (p + q)) - 0.5 * (entropy(p) + entropy(q))


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
