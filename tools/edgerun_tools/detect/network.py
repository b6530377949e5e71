"""The whole detector as one network, and its ONNX file.

Parts, each greater for what looks manipulated:

    shape    minus the logarithm of a density (a mixture of normals, see `decision`) of the statistics of the features alone
    own      divergence of the head's exit and the witness (see `agreement`)    needs the exit's scores
    tail     divergence of the tail's answer and the witness                    needs the tail's
    exit     divergence of the tail's answer and the head's exit                needs both

A part becomes -log 2p, where p is the share of benign calibration inputs with a greater one: 0 up to the median, linear between the
quantiles of `SHARES` and beyond the last. A score is the sum over the parts that its mode has (Fisher 1932, "Statistical Methods for
Research Workers", 21.1); as the parts are not independent, thresholds are quantiles of the sum itself, on benign data. Beside answers, the
shape counts only as far as 2p is below `RARE`: noise of a kind never met moves it, and it is there to see what looks like no features at
all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from edgerun.detect.about import KEY, MODES, About
from edgerun_tools.detect.agreement import Divergences, Witness
from edgerun_tools.detect.decision import Mixture
from edgerun_tools.detect.lean import model_of
from edgerun_tools.detect.statistics import Residuals, Summary

Array = np.ndarray[Any, Any]
PARTS = ("shape", "own", "tail", "exit")
MEMBERS = {"features": ("shape",), "exit": ("rare", "own"), "tail": ("rare", "tail"), "both": ("rare", "exit")}
"""What makes the score of a mode; "rare" is what the shape has beyond `RARE`. Where exit and tail are known the witness is
left out: an attacker can turn it along with the tail, but not the exit."""
RARE = 0.02
SHARES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)


class Surprise(nn.Module):
    """[n, parts] -> -log 2p, [n, parts]: a broken line through benign quantiles, written as a sum of ramps."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.register_buffer("knots", torch.zeros(len(SHARES), parts))
        self.register_buffer("slopes", torch.zeros(len(SHARES), parts))

    def forward(self, parts: Tensor) -> Tensor:
        return ((parts[:, None, :] - self.knots).clamp_min(0) * self.slopes).sum(1)

    def fit(self, parts: Array) -> None:
        """parts [n, parts] of benign inputs."""
        knots = np.quantile(parts.astype(np.float64), 1 - np.array(SHARES), axis=0)
        least = 1e-6 * (1 + np.abs(knots).max(0))
        for i in range(1, len(knots)):
            knots[i] = np.maximum(knots[i], knots[i - 1] + least)
        steep = np.diff(-np.log(SHARES))[:, None] / np.diff(knots, axis=0)
        steep = np.concatenate([steep, steep[-1:]])
        self.knots.copy_(torch.from_numpy(knots))
        self.slopes.copy_(torch.from_numpy(np.diff(steep, axis=0, prepend=0.0)))


class DetectorNet(nn.Module):
    """(features, exit_scores, tail_scores) -> (scores [n, 4], parts [n, 4])."""

    def __init__(self, summary: Summary, residuals: Residuals, decision: Mixture, witness: Witness, shape: tuple[int, ...],
                 classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.summary, self.residuals, self.decision, self.witness = summary, residuals, decision, witness
        self.divergences = Divergences()
        self.surprise = Surprise(len(PARTS))
        self.register_buffer("members", torch.tensor([[float(p in MEMBERS[m]) for m in MODES] for p in (*PARTS, "rare")]))

    def parts(self, features: Tensor, exit_scores: Tensor, tail_scores: Tensor) -> Tensor:
        """[n, 4] in the order of PARTS."""
        shape = self.decision(self.residuals(self.summary(features)))
        logits = torch.cat([self.witness(features), exit_scores, tail_scores], 1).reshape(-1, 3, self.classes)
        return torch.cat([shape, self.divergences(logits)], 1)

    def combined(self, parts: Tensor) -> Tensor:
        """Parts [n, 4] -> scores [n, 4] in the order of MODES."""
        surprise = self.surprise(parts)
        rare = (surprise[:, :1] + float(np.log(RARE))).clamp_min(0)
        return torch.cat([surprise, rare], 1) @ self.members

    def forward(self, features: Tensor, exit_scores: Tensor, tail_scores: Tensor) -> tuple[Tensor, Tensor]:
        parts = self.parts(features, exit_scores, tail_scores)
        return self.combined(parts), parts

    @torch.no_grad()
    def run(self, features: Array, exit_scores: Array | None, tail_scores: Array | None, batch: int = 250) -> tuple[Array, Array]:
        """Of arrays; scores and parts, float32 [n, 4] each. Answers that are not given count as zeros."""
        self.eval()
        found = []
        for i in range(0, len(features), batch):
            x = torch.from_numpy(np.ascontiguousarray(features[i:i + batch]))
            e, t = (torch.zeros(len(x), self.classes) if s is None else torch.from_numpy(np.ascontiguousarray(s[i:i + batch]))
                    for s in (exit_scores, tail_scores))
            found.append(self(x, e, t))
        return torch.cat([f[0] for f in found]).numpy(), torch.cat([f[1] for f in found]).numpy()


def export(net: DetectorNet, about: About) -> bytes:
    """The ONNX file (see `lean`), batch left open, metadata `edgerun.detector`."""
    model = model_of(net.eval(), PARTS, RARE)
    model.metadata_props.add(key=KEY, value=about.dumps())
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
