"""vae: features made by the attacker's own generator, in the manner of AdVAR-DNN (IEEE LCN 2025).

A conditional autoencoder learns intercepted features with the classes that the tail gives them. For a target class, codes are drawn from
a normal distribution fitted to the codes of that class (Ghosh et al. 2020, arXiv 1903.12436) and decoded; the message is replaced. It needs
answers, not gradients, of the tail. Decoding the code of the message itself under another class does not work: the code holds the class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgerun_tools.detect.context import BATCH, AttackContext, register
from edgerun_tools.detect.plain_vae import PlainVae, fit

Array = np.ndarray[Any, Any]
SAMPLES = 4
"""Codes drawn for a message; of those decoded the one that the tail takes for the target most surely is sent."""


def generator(context: AttackContext, seed: int) -> tuple[PlainVae, Array]:
    """The context's generator, trained on its pool at the first call, and the codes' means of the whole pool, float32 [M, latent]."""
    if "vae" not in context.kept:
        torch.manual_seed(seed)
        size, classes = int(np.prod(context.pool.shape[1:])), int(context.labels.max()) + 1
        vae = fit(PlainVae(size, context.reference.scale, classes=classes), context.pool, context.labels, seed)
        with torch.no_grad():
            codes = [vae.encode(torch.from_numpy(context.pool[i:i + BATCH]), torch.from_numpy(context.labels[i:i + BATCH]))[0]
                     for i in range(0, len(context.pool), BATCH)]
        context.kept["vae"] = vae, torch.cat(codes).numpy()
    vae, means = context.kept["vae"]
    return vae, means


@register("vae", "target")
def generated(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    vae, means = generator(context, int(rng.integers(2 ** 31)))
    drawn = np.zeros((SAMPLES, len(x), means.shape[1]), np.float32)
    for t in np.unique(target):
        codes, here = means[context.of_class(int(t))], np.flatnonzero(target == t)
        spread = np.cov(codes, rowvar=False) if len(codes) > 1 else np.zeros((codes.shape[1],) * 2)
        drawn[:, here] = rng.multivariate_normal(codes.mean(0), spread, (SAMPLES, len(here)), check_valid="ignore")
    best, sure = x.copy(), np.full(len(x), -np.inf, np.float32)
    with torch.no_grad():
        for i in range(0, len(x), BATCH):
            batch = slice(i, i + BATCH)
            wanted = torch.from_numpy(target[batch])
            for z in drawn[:, batch]:
                made = context.inside(vae.decode(torch.from_numpy(z), wanted).reshape(-1, *x.shape[1:]))
                p = context.tail.logits(made).softmax(1).gather(1, wanted[:, None])[:, 0].numpy()
                surer = p > sure[batch]
                best[batch][surer], sure[batch][surer] = made.numpy()[surer], p[surer]
    return best
